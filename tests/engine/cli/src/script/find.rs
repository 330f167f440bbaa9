//! Finds scripts in folders.

use crate::error::EngineError;
use std::fs;
use std::path::{Path, PathBuf};

/// The files among `paths`, and every `.wast` file in the folders among them, each folder's sorted.
pub(crate) fn find_scripts(paths: &[PathBuf]) -> Result<Vec<PathBuf>, EngineError> {
    let mut scripts = Vec::new();
    for path in paths {
        let before = scripts.len();
        if path.is_dir() {
            search(path, &mut scripts)?;
            if scripts.len() == before {
                return Err(EngineError::NoScripts(path.clone()));
            }
        } else {
            scripts.push(path.clone());
        }
    }
    Ok(scripts)
}

fn search(folder: &Path, scripts: &mut Vec<PathBuf>) -> Result<(), EngineError> {
    let failed = |source| EngineError::Read {
        path: folder.to_owned(),
        source,
    };
    let mut entries = fs::read_dir(folder)
        .and_then(|entries| {
            entries
                .map(|entry| Ok(entry?.path()))
                .collect::<std::io::Result<Vec<_>>>()
        })
        .map_err(failed)?;
    entries.sort();
    for entry in entries {
        if entry.is_dir() {
            search(&entry, scripts)?;
        } else if entry
            .extension()
            .is_some_and(|extension| extension == "wast")
        {
            scripts.push(entry);
        }
    }
    Ok(())
}
