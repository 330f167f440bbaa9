//! Writes the seeds of each loader to files: `seeds FOLDER`.

use std::env;
use std::error::Error;
use std::fs;
use std::path::Path;
use vmexternref_loaders::LOADERS;

fn main() -> Result<(), Box<dyn Error>> {
    let folder = env::args().nth(1).ok_or("usage: seeds FOLDER")?;
    for loader in &LOADERS {
        let folder = Path::new(&folder).join(loader.name);
        fs::create_dir_all(&folder)?;
        for (number, seed) in (loader.seeds)().iter().enumerate() {
            fs::write(folder.join(format!("seed-{number}")), seed)?;
        }
    }
    Ok(())
}
