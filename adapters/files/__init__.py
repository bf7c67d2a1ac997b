"""Files: attachments of runs, and artifacts that runs make, on disk or in memory."""

if __name__ != "executus.adapters.files":  # loaded a second time under a wrong name: two copies of every class
    raise ImportError(f"import executus.adapters.files, not {__name__}")
