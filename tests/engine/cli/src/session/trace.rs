//! Prints the frames and references that collections find.

use crate::host::console::Console;
use crate::session::code_map::CodeMap;
use core::fmt;
use vmexternref_core::{Frame, ObservedFrame, ObservedSlot, ObservedStack, Observer, SlotContent};
use vmexternref_engine_host::HostObject;

/// Prints each frame that a collection visits, and what its live slots hold.
pub(crate) struct Tracing {
    code_map: CodeMap,
    console: Console,
}

impl Tracing {
    /// Traces to `console`.
    pub(crate) fn new(code_map: &CodeMap, console: &Console) -> Self {
        Self {
            code_map: code_map.clone(),
            console: console.clone(),
        }
    }
}

impl Observer for Tracing {
    fn walked(&mut self, stack: &ObservedStack<'_>) {
        self.console.line("trace: walk");
        for frame in stack.frames() {
            let code = Code::of(&frame, &self.code_map);
            self.console.line(ShownFrame(frame.frame(), code));
            for slot in frame.slots() {
                self.console.line(ShownSlot(slot));
            }
        }
        let end = stack.end();
        self.console.line(format_args!("trace: walk ends: {end}"));
    }
}

/// What code a frame runs.
enum Code {
    Host,
    Trampoline,
    /// A function, and its live slots.
    Wasm(String, usize),
}

impl Code {
    fn of(frame: &ObservedFrame<'_>, code_map: &CodeMap) -> Self {
        match code_map.find(frame.frame().pc) {
            Some(place) => Self::Wasm(place.to_string(), frame.live_words()),
            None if frame.module().is_some() => Self::Trampoline,
            None => Self::Host,
        }
    }
}

struct ShownFrame(Frame, Code);

impl fmt::Display for ShownFrame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(Frame { pc, sp, fp, .. }, code) = self;
        write!(f, "trace:   frame pc {pc:#x}")?;
        for (name, address) in [("fp", fp), ("sp", sp)] {
            match address {
                Some(address) => write!(f, " {name} {address:#x}")?,
                None => write!(f, " {name} unknown")?,
            }
        }
        match code {
            Code::Host => f.write_str(" host"),
            Code::Trampoline => f.write_str(" trampoline"),
            Code::Wasm(place, live) => write!(f, " {place}, {live} live slots"),
        }
    }
}

struct ShownSlot<'s>(ObservedSlot<'s>);

impl fmt::Display for ShownSlot<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (address, word) = (self.0.address(), self.0.word());
        write!(f, "trace:     slot {address:#x} root {word:#x}: ")?;
        match self.0.content() {
            SlotContent::Null => f.write_str("null"),
            SlotContent::Object(object) => match object.downcast_ref::<HostObject>() {
                Some(object) => write!(f, "object {}, {}", object.number(), object.kind()),
                None => f.write_str("an object"),
            },
            SlotContent::NotInTable => f.write_str("not in the activations table"),
            SlotContent::Misaligned => f.write_str("no reference"),
            _ => f.write_str("an immediate"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Code, ShownFrame};
    use vmexternref_core::Frame;

    #[test]
    fn frames_are_named_by_their_code() {
        let shown = |code| {
            let frame = Frame::of_unknown_code(0x1030, Some(0x7000), None);
            ShownFrame(frame, code).to_string()
        };
        let address = "trace:   frame pc 0x1030 fp unknown sp 0x7000";
        let wasm = Code::Wasm("function 4 $f at 0x20".to_owned(), 2);
        let place = "function 4 $f at 0x20";
        assert_eq!(shown(wasm), format!("{address} {place}, 2 live slots"));
        assert_eq!(shown(Code::Trampoline), format!("{address} trampoline"));
        assert_eq!(shown(Code::Host), format!("{address} host"));
    }
}
