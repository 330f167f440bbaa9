//! Prints the frames and roots that collections find.

use crate::host::console::Console;
use core::cell::RefCell;
use core::fmt;
use core::ops::{ControlFlow, Range};
use core::ptr;
use std::collections::BTreeMap;
use std::rc::Rc;
use vmexternref_core::{Frame, StackWalker, WalkEnd};
use vmexternref_engine_runtime::{CompiledModule, Safepoint};

/// Finds functions and safepoints by their address, in all modules.
#[derive(Clone, Debug, Default)]
pub(crate) struct CodeMap {
    by_base: Rc<RefCell<BTreeMap<usize, ModuleCode>>>,
}

/// Finds functions and safepoints by their offset, in one module.
#[derive(Debug)]
pub(crate) struct ModuleCode {
    len: usize,
    imported_functions: usize,
    functions: Vec<Range<u32>>,
    safepoints: BTreeMap<u32, Safepoint>,
}

/// A place in a module's code.
struct Place<'m> {
    function: Option<usize>,
    safepoint: Option<&'m Safepoint>,
}

impl CodeMap {
    /// Copies the parts of a module that a trace needs.
    pub(crate) fn describe(module: &CompiledModule) -> ModuleCode {
        ModuleCode {
            len: module.text.len(),
            imported_functions: module.imported_functions(),
            functions: module.functions.clone(),
            safepoints: module
                .safepoints
                .iter()
                .map(|safepoint| (safepoint.return_offset, safepoint.clone()))
                .collect(),
        }
    }

    /// Adds a module whose text was placed at `base`.
    pub(crate) fn add(&self, base: usize, module: ModuleCode) {
        self.by_base.borrow_mut().insert(base, module);
    }

    /// Runs `f` with the place of the return address `pc`, or with `None` outside of compiled code.
    fn at<R>(&self, pc: usize, f: impl FnOnce(Option<Place<'_>>) -> R) -> R {
        let modules = self.by_base.borrow();
        let module = modules.range(..=pc).next_back();
        f(module.and_then(|(base, module)| module.place(pc - base)))
    }
}

impl ModuleCode {
    fn place(&self, offset: usize) -> Option<Place<'_>> {
        let offset = u32::try_from(offset).ok().filter(|_| offset < self.len)?;
        // The return address of a call at a function's end lies right behind the function.
        let function = self
            .functions
            .iter()
            .position(|range| range.start < offset && offset <= range.end);
        Some(Place {
            function: function.map(|index| self.imported_functions + index),
            safepoint: self.safepoints.get(&offset),
        })
    }
}

/// Prints each frame that another walker visits, and the references in it.
pub(crate) struct Tracing {
    walker: Box<dyn StackWalker>,
    code_map: CodeMap,
    console: Console,
}

impl Tracing {
    /// Traces `walker` to `console`.
    pub(crate) fn new(walker: Box<dyn StackWalker>, code_map: &CodeMap, console: &Console) -> Self {
        Self {
            walker,
            code_map: code_map.clone(),
            console: console.clone(),
        }
    }

    fn show(&self, frame: &Frame) {
        self.code_map.at(frame.pc, |place| {
            self.console.line(ShownFrame {
                frame,
                place: place.as_ref(),
            });
            let safepoint = place.and_then(|place| place.safepoint);
            for (slot, word) in safepoint.iter().flat_map(|at| live_words(frame, at)) {
                self.console
                    .line(format_args!("trace:     slot {slot:#x} root {word:#x}"));
            }
        });
    }
}

/// The address and the content of each live slot of a frame, including null.
fn live_words(frame: &Frame, safepoint: &Safepoint) -> impl Iterator<Item = (usize, usize)> {
    let base = match (frame.fp, frame.sp) {
        (Some(fp), _) => Some(fp.wrapping_sub(safepoint.frame_bytes as usize)),
        (None, sp) => sp,
    };
    safepoint.references.iter().filter_map(move |&offset| {
        let address = base?.wrapping_add(offset as usize);
        // SAFETY: the walker shows frames of a running activation, and the compiler's safepoint guarantees that this
        // word lies in the frame.
        let word = unsafe { ptr::with_exposed_provenance::<usize>(address).read() };
        Some((address, word))
    })
}

// SAFETY: it visits what the other walker visits, and passes on how that ends.
unsafe impl StackWalker for Tracing {
    fn walk(&self, visit: &mut dyn FnMut(Frame) -> ControlFlow<()>) -> WalkEnd {
        self.console.line("trace: walk");
        let end = self.walker.walk(&mut |frame| {
            self.show(&frame);
            visit(frame)
        });
        self.console.line(format_args!("trace: walk ends: {end:?}"));
        end
    }
}

struct ShownFrame<'a> {
    frame: &'a Frame,
    place: Option<&'a Place<'a>>,
}

impl fmt::Display for ShownFrame<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Frame { pc, sp, fp } = self.frame;
        write!(f, "trace:   frame pc {pc:#x}")?;
        for (name, address) in [("fp", fp), ("sp", sp)] {
            match address {
                Some(address) => write!(f, " {name} {address:#x}")?,
                None => write!(f, " {name} unknown")?,
            }
        }
        match self.place {
            None => f.write_str(" host"),
            Some(Place { function: None, .. }) => f.write_str(" trampoline"),
            Some(Place {
                function: Some(index),
                safepoint,
            }) => {
                let live = safepoint.map_or(0, |safepoint| safepoint.references.len());
                write!(f, " function {index}, {live} live slots")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{ModuleCode, ShownFrame};
    use std::collections::BTreeMap;
    use vmexternref_core::Frame;
    use vmexternref_engine_runtime::Safepoint;

    #[test]
    fn frames_are_named_by_their_function() {
        let safepoint = Safepoint {
            return_offset: 0x30,
            frame_bytes: 32,
            references: vec![0, 8],
        };
        let code = ModuleCode {
            len: 0x80,
            imported_functions: 3,
            functions: vec![0..0x20, 0x20..0x30],
            safepoints: BTreeMap::from([(0x30, safepoint)]),
        };
        let frame = Frame {
            pc: 0x1030,
            sp: Some(0x7000),
            fp: None,
        };
        let shown = |offset| {
            let place = code.place(offset);
            let place = place.as_ref();
            ShownFrame {
                frame: &frame,
                place,
            }
            .to_string()
        };
        let address = "trace:   frame pc 0x1030 fp unknown sp 0x7000";
        assert_eq!(shown(0x30), format!("{address} function 4, 2 live slots"));
        assert_eq!(shown(0x10), format!("{address} function 3, 0 live slots"));
        assert_eq!(shown(0x40), format!("{address} trampoline"));
        assert_eq!(shown(0x80), format!("{address} host"));
    }
}
