//! Prints the frames and roots that collections find.

use crate::host::console::Console;
use core::cell::RefCell;
use core::fmt;
use core::ops::{ControlFlow, Range};
use core::ptr;
use std::collections::BTreeMap;
use std::rc::Rc;
use vmexternref_core::{Frame, RecordedWalker, StackWalker, WalkEnd};
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
    stack_maps: Vec<u8>,
}

/// A place in a module's code.
struct Place {
    function: Option<usize>,
    safepoint: Option<Safepoint>,
}

impl CodeMap {
    /// Copies the parts of a module that a trace needs.
    pub(crate) fn describe(module: &CompiledModule) -> ModuleCode {
        ModuleCode {
            len: module.text.len(),
            imported_functions: module.imported_functions(),
            functions: module.functions.clone(),
            stack_maps: module.stack_maps.clone(),
        }
    }

    /// Adds a module whose text was placed at `base`.
    pub(crate) fn add(&self, base: usize, module: ModuleCode) {
        self.by_base.borrow_mut().insert(base, module);
    }

    /// Runs `f` with the place of the return address `pc`, or with `None` outside of compiled code.
    fn at<R>(&self, pc: usize, f: impl FnOnce(Option<Place>) -> R) -> R {
        let modules = self.by_base.borrow();
        let module = modules.range(..=pc).next_back();
        f(module.and_then(|(base, module)| module.place(pc - base)))
    }
}

impl ModuleCode {
    fn place(&self, offset: usize) -> Option<Place> {
        let offset = u32::try_from(offset).ok().filter(|_| offset < self.len)?;
        // The return address of a call at a function's end lies right behind the function.
        let function = self
            .functions
            .iter()
            .position(|range| range.start < offset && offset <= range.end);
        Some(Place {
            function: function.map(|index| self.imported_functions + index),
            safepoint: Safepoint::lookup(&self.stack_maps, offset),
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
        // SAFETY: the walker shows frames of a running activation, and the compiler's safepoint
        // guarantees that this word lies in the frame.
        let word = unsafe { ptr::with_exposed_provenance::<usize>(address).read() };
        Some((address, word))
    })
}

// SAFETY: it visits what the other walker visits, and passes on how that ends.
unsafe impl StackWalker for Tracing {
    fn walk(&self, visit: &mut dyn FnMut(Frame) -> ControlFlow<()>) -> WalkEnd {
        // Everything is told before the first visit: a walk runs no code of others.
        let recorded = RecordedWalker::record(&*self.walker);
        self.console.line("trace: walk");
        recorded.frames().iter().for_each(|frame| self.show(frame));
        self.console
            .line(format_args!("trace: walk ends: {}", recorded.end()));
        recorded.walk(visit)
    }
}

struct ShownFrame<'a> {
    frame: &'a Frame,
    place: Option<&'a Place>,
}

impl fmt::Display for ShownFrame<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Frame { pc, sp, fp, .. } = self.frame;
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
                let live = safepoint.as_ref().map_or(0, |at| at.references.len());
                write!(f, " function {index}, {live} live slots")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{ModuleCode, ShownFrame};
    use vmexternref_core::Frame;

    #[test]
    fn frames_are_named_by_their_function() {
        // One safepoint at 0x30: a frame of 32 bytes with references in its words 0 and 1.
        let stack_maps: [u32; 6] = [1, 0x30, 0, 32, 1, 0b101];
        let code = ModuleCode {
            len: 0x80,
            imported_functions: 3,
            functions: vec![0..0x20, 0x20..0x30],
            stack_maps: stack_maps
                .iter()
                .flat_map(|word| word.to_le_bytes())
                .collect(),
        };
        let frame = Frame::new(0x1030, Some(0x7000), None);
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
