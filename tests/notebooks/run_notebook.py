#!/usr/bin/env python3
"""Executes one notebook with the interpreter that runs this, in a folder of its own; a failing cell or assert fails.

usage: run_notebook.py NOTEBOOK MOTLEY DATA FIGURES     sets the parameters of the cell tagged so; figures go to FIGURES
       run_notebook.py --stripped NOTEBOOK ...         only checks: no outputs, no counts, a parameters cell, asserts at the end
"""

import pathlib
import sys

import nbformat


def faults_of(book):
    code = [cell for cell in book.cells if cell.cell_type == "code"]
    faults = []
    if any(cell.outputs or cell.execution_count is not None for cell in code):
        faults.append("has outputs: clear them")
    if "parameters" not in code[0].metadata.get("tags", []):
        faults.append("its first code cell is not tagged `parameters`")
    if "assert " not in code[-1].source:
        faults.append("its last cell asserts nothing")
    if not any("figures.save(" in cell.source for cell in code):
        faults.append("saves no figure")
    return faults


def main():
    if sys.argv[1] == "--stripped":
        faults = [f"{path}: {what}" for path in sys.argv[2:] for what in faults_of(nbformat.read(path, 4))]
        if len(sys.argv) < 3:
            faults = ["no notebook given"]
        print("\n".join(faults) if faults else f"{len(sys.argv) - 2} notebooks: fine")
        sys.exit(1 if faults else 0)
    from nbclient import NotebookClient

    path, program, data, out = (pathlib.Path(word).resolve() for word in sys.argv[1:5])
    book = nbformat.read(path, 4)
    at = next(i for i, cell in enumerate(book.cells) if "parameters" in cell.metadata.get("tags", []))
    given = nbformat.v4.new_code_cell(f"data = {str(data)!r}\nprogram = {str(program)!r}\nout = {str(out)!r}")
    book.cells.insert(at + 1, given)
    # A kernel named python3 is started with sys.executable, whatever python3 is first on PATH.
    NotebookClient(book, timeout=60, kernel_name="python3", resources={"metadata": {"path": str(path.parent)}}).execute()
    made = sorted(out.glob(path.stem.split("_")[0] + "_*.png"))
    if not made:
        sys.exit(f"{path.name}: no figure in {out}")
    for cell in book.cells:
        for output in cell.get("outputs", []):
            if output.output_type == "stream":
                print(output.text, end="")
    print(f"{path.name}: {len(made)} figures")


if __name__ == "__main__":
    main()
