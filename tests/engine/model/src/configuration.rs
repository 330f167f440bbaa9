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
    /// Whether the host calls functions of the guest on stacks of their own, which needs the walker
    /// by activation records.
    pub stacks: bool,
    /// Whether to collect at every safepoint.
    pub zeal: bool,
}

impl Configuration {
    /// Every configuration.
    pub fn all() -> impl Iterator<Item = Self> {
        let native = WalkerKind::ALL
            .iter()
            .map(|walker| (EngineKind::Native, *walker, false));
        let ways = native.chain([
            (EngineKind::Native, WalkerKind::Activations, true),
            (EngineKind::Pulley, WalkerKind::Activations, false),
            (EngineKind::Pulley, WalkerKind::Activations, true),
        ]);
        ways.flat_map(|(engine, walker, stacks)| {
            [false, true].map(|zeal| Self {
                engine,
                walker,
                stacks,
                zeal,
            })
        })
    }
}

impl fmt::Display for Configuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stacks = if self.stacks { ", stacks" } else { "" };
        let zeal = if self.zeal { ", zeal" } else { "" };
        write!(f, "{}, {}{stacks}{zeal}", self.engine, self.walker)
    }
}
