//! The ways to run a program.

use core::fmt;
use vmexternref_engine::{EngineKind, WalkerKind};

/// What runs a program, what finds its frames, and when it collects.
#[derive(Clone, Copy, Debug)]
pub struct Configuration {
    /// What runs the guests.
    pub engine: EngineKind,
    /// The walker of collections.
    pub walker: WalkerKind,
    /// Whether to collect at every safepoint.
    pub zeal: bool,
}

impl Configuration {
    /// Every configuration.
    pub fn all() -> impl Iterator<Item = Self> {
        let native = WalkerKind::ALL
            .iter()
            .map(|walker| (EngineKind::Native, *walker));
        let ways = native.chain([(EngineKind::Pulley, WalkerKind::Activations)]);
        ways.flat_map(|(engine, walker)| {
            [false, true].map(|zeal| Self {
                engine,
                walker,
                zeal,
            })
        })
    }
}

impl fmt::Display for Configuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let zeal = if self.zeal { ", zeal" } else { "" };
        write!(f, "{}, {}{zeal}", self.engine, self.walker)
    }
}
