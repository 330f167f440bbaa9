//! A walker that is all of them, and notes where they disagree.

use core::cell::Cell;
use core::ops::{ControlFlow, Range};
use std::rc::Rc;
use std::sync::Arc;
use vmexternref_core::{ComparingWalker, Frame, StackMapRegistry, StackWalker, WalkEnd};
use vmexternref_engine::{Session, WalkerKind};

/// What walks have shown so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Findings {
    /// How many walks there were.
    pub(crate) walks: Rc<Cell<usize>>,
    /// How many of them differed in Wasm frames.
    pub(crate) differences: Rc<Cell<usize>>,
}

/// Visits what the activation record shows, if the unwinder and, where they are known, the frame
/// pointers show the same.
struct Every {
    registry: Arc<StackMapRegistry>,
    walkers: Vec<Rc<dyn StackWalker>>,
    findings: Findings,
}

// SAFETY: it visits what `ComparingWalker` visits, and passes on how that ends.
unsafe impl StackWalker for Every {
    fn walk(&self, visit: &mut dyn FnMut(Frame) -> ControlFlow<()>) -> WalkEnd {
        let [first, second, others @ ..] = &*self.walkers else {
            unreachable!("there are two walkers on every architecture")
        };
        let pair = ComparingWalker::new(&self.registry, &**first, &**second);
        let (end, more) = match others {
            [] => (pair.walk(visit), 0),
            [third, ..] => {
                let all = ComparingWalker::new(&self.registry, &pair, &**third);
                (all.walk(visit), all.take_differences().len())
            }
        };
        let differences = pair.take_differences().len() + more;
        let Findings {
            walks,
            differences: total,
        } = &self.findings;
        walks.set(walks.get() + 1);
        total.set(total.get() + differences);
        end
    }
}

/// Makes `session` walk with all walkers at once.
pub(crate) fn compare_walkers(session: &Session, stack: &Range<usize>) -> Findings {
    let findings = Findings::default();
    let build = |kind: WalkerKind| kind.build(session.store(), stack.clone()).unwrap();
    session.set_walker(Rc::new(Every {
        registry: Arc::clone(session.store().registry()),
        walkers: WalkerKind::ALL.iter().copied().map(build).collect(),
        findings: findings.clone(),
    }));
    findings
}
