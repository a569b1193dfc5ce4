#pragma once
/// Named points of a run at which a test can kill the process.
///
/// MOTLEY_CRASH_AT=POINT[:N] in the environment ends the program by SIGKILL when it reaches POINT
/// for the N-th time (1 when not given). A test aid: without it a point costs one comparison, and
/// the program says on stderr when it is set.

namespace motley {

enum class FaultPoint {
  config_written,      ///< config.ini of a new run is there, run.h5 not yet
  header_created,      ///< run.h5.tmp holds every dataset and no row
  resume_copied,       ///< run.h5.tmp is a copy of the run to go on with
  resume_cut,          ///< and holds the rows of the checkpoint alone
  before_live,         ///< run.h5.tmp is durable, before it takes the place of run.h5
  after_live,          ///< run.h5 is a live file
  after_step,          ///< a step is computed and not handed to the writer
  mid_data,            ///< one column of a block of rows is written, the others not
  after_data,          ///< commit: rows written
  after_flush,         ///< commit: rows flushed, /committed not
  after_commit,        ///< commit: /committed flushed
  after_evaluation,    ///< an evaluation is computed, nothing of it written
  mid_evaluation,      ///< half of the columns of an evaluation are written
  mid_checkpoint,      ///< half of a file that is replaced as a whole is written
  before_rename,       ///< it is durable under its temporary name
  after_rename,        ///< and under its own
  before_removal,      ///< old checkpoints are still there
  after_removal,       ///< and are gone
  mid_checkpoint_row,  ///< /checkpoints has the row in some of its columns
  before_close,        ///< all rows written and committed, the file not closed
  after_integrity,     ///< digests written, /status still running
  after_status,        ///< /status written, the file not closed
  after_close,         ///< the file is closed
};

/// Name of a point as in MOTLEY_CRASH_AT.
const char* name_of(FaultPoint point);

/// Reads POINT[:N]; nullptr arms nothing. Called once, before other threads exist.
/// \throws Error(config) naming every point when it is none of them
void arm_fault_point(const char* text);

/// From now on no point ends this process: a child that only tries something out.
void disarm_fault_point();

/// Ends the process here when the point is armed and was reached often enough.
void reach_fault_point(FaultPoint point);

}  // namespace motley
