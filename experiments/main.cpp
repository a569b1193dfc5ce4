#include "experiments/cli.hpp"
#include "experiments/report.hpp"
#include "experiments/run_status.hpp"

int main(int argc, char** argv) {
  using namespace motley;
  // A new subcommand adds one line here.
  return run_cli(argc, argv,
                 {&kPretrain, &kTrain, &kEval, &kSweep, &kCompare, &kInspect, &kDigest, &kVerify,
                  &kRepair, &kPartition, &kReshape, &kReplay, &kReport, &kImport, &kExport,
                  &kStatus, &kBench, &kConfig, &kInfo});
}
