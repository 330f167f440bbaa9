//! What to run next.

use arbitrary::{Result, Unstructured};
use core::fmt;
use std::env;
use std::fs;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use vmexternref_engine::{Invocation, Settings, on_guest_stack, run_module};
use vmexternref_engine_model::Configuration;
use vmexternref_loaders::{LOADERS, Loader};
use vmexternref_model::bytes_of;

/// Bytes of stack for guests. With zeal, time is the square of it.
const STACK: usize = 512 << 10;

/// The guests that check themselves.
static GUESTS: LazyLock<Vec<PathBuf>> = LazyLock::new(|| {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../programs");
    let entries = fs::read_dir(folder).expect("the folder is in the repository");
    let paths = entries.map(|entry| entry.expect("the folder can be read").path());
    let modules = paths.filter(|path| path.extension().is_some_and(|name| name == "wat"));
    let mut modules: Vec<_> = modules.collect();
    modules.sort();
    modules
});

/// One case.
pub(crate) enum Draw {
    /// The case of the model of the library that has this seed.
    Library(u64),
    /// The program of the model of the engine that has this seed.
    Engine(u64),
    /// The input of a loader that has this number.
    Loader(&'static Loader, u64),
    /// A guest that checks itself.
    Guest(&'static PathBuf, Configuration),
}

impl Draw {
    /// The case of that number, the same on every machine. What takes long is drawn less often.
    pub(crate) fn of(number: u64) -> Self {
        let drawn = Self::from_bytes(&mut Unstructured::new(&bytes_of(number)));
        drawn.expect("no choice is empty")
    }

    fn from_bytes(u: &mut Unstructured<'_>) -> Result<Self> {
        Ok(match u.int_in_range(0..=19)? {
            0..=9 => Self::Library(u.arbitrary()?),
            10..=17 => Self::Loader(u.choose(&LOADERS)?, u.arbitrary()?),
            18 => Self::Engine(u.arbitrary()?),
            _ => {
                let ways: Vec<_> = Configuration::all().collect();
                Self::Guest(u.choose(GUESTS.as_slice())?, *u.choose(&ways)?)
            }
        })
    }

    /// The kind of case.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Library(_) => "cases of the library",
            Self::Engine(_) => "programs of the engine",
            Self::Loader(..) => "inputs of loaders",
            Self::Guest(..) => "guests",
        }
    }

    /// Runs it; whether it is good.
    pub(crate) fn run(&self) -> bool {
        match self {
            // Bytes that run out in the middle make a shorter case, or none.
            Self::Library(seed) => catch_unwind(|| {
                let mut tally = vmexternref_model::Tally::default();
                let _ =
                    vmexternref_model::check(&mut Unstructured::new(&bytes_of(*seed)), &mut tally);
            })
            .is_ok(),
            Self::Engine(seed) => catch_unwind(|| {
                vmexternref_engine_model::run_case(*seed, &mut Default::default());
            })
            .is_ok(),
            Self::Loader(loader, number) => catch_unwind(|| {
                // They are made once, and are no memory of the loader.
                (loader.seeds)();
                loader.check(&loader.input(*number));
            })
            .is_ok(),
            Self::Guest(path, configuration) => run_guest(path, *configuration),
        }
    }
}

fn run_guest(path: &Path, configuration: Configuration) -> bool {
    let ran = on_guest_stack(STACK, |stack| {
        let mut settings = Settings::new(configuration.walker, stack);
        settings.engine = configuration.engine;
        settings.zeal = configuration.zeal;
        settings.directory = Some(env::temp_dir());
        let ran = run_module(path, &Invocation::default(), &settings, None);
        ran.map_err(|error| error.to_string())
    });
    let ran = ran.map_err(|error| error.to_string()).flatten();
    if let Err(error) = &ran {
        println!("{error}");
    }
    ran.is_ok()
}

impl fmt::Display for Draw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Library(seed) => write!(f, "the model of the library, case {seed}"),
            Self::Engine(seed) => write!(f, "the model of the engine, case {seed}"),
            Self::Loader(loader, number) => write!(f, "the loader {}, input {number}", loader.name),
            Self::Guest(path, way) => write!(f, "{} by {way}", path.display()),
        }
    }
}
