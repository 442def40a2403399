"""Data sets: files on disk become batches on the device. Import `rlkd_run.data.dataset` to open one."""
