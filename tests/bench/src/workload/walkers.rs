//! W15: walkers on one stack of Wasm frames.

use super::{Lines, Task, Workload};
use crate::contender::Contender::{
    Backtrace, BacktraceWalker, CurrentFrame, Floor, Framehop, Ours,
};
use crate::engine::{Engine, Failure, Ours as OurEngine, Scene};
use crate::guest::{self, Held};
use crate::stopwatch::Stopwatch;
use core::hint::black_box;
use core::ops::ControlFlow;
use core::ptr;
use vmexternref_core::StackWalker;
#[cfg(target_arch = "x86_64")]
use vmexternref_engine_code_memory::Placement;
use vmexternref_frame_pointer::{ActivationsWalker, CurrentFrameWalker};

pub(super) const WORKLOADS: &[Workload] = &[Workload {
    row: "W15",
    part: "",
    contenders: &[
        Ours,
        Framehop,
        Backtrace,
        BacktraceWalker,
        CurrentFrame,
        Floor,
    ],
    sizes: &[1000],
    quick_sizes: &[1000],
    run: walk,
}];

/// Walks from the bottom of `x` Wasm frames; nanoseconds per frame visited.
fn walk(task: &Task) -> Result<Lines, Failure> {
    let text = guest::module(&recursion());
    let mut engine = OurEngine::new(&text, task.effort)?;
    engine.set_walk(match task.contender {
        Framehop => by_framehop,
        Backtrace => by_backtrace,
        BacktraceWalker => by_backtrace_walker,
        CurrentFrame => from_current_frame,
        Floor => by_hand,
        _ => by_activations,
    });
    engine.run("run", task.size()?)?;
    per_frame(&mut engine, task.x)
}

/// The recursion of W7, with a walk at its bottom in place of the timed loop.
pub(super) fn recursion() -> String {
    guest::recursion(Held::Nothing, "").replace("(call $timed (i32.const 0))", "(call $walk)")
}

/// Nanoseconds per frame of the walk that `engine` timed below `x` frames.
pub(super) fn per_frame(engine: &mut OurEngine, x: u32) -> Result<Lines, Failure> {
    let frames = u32::try_from(engine.walked_frames())?;
    if frames < x {
        return Err(format!("the walk ended after {frames} frames").into());
    }
    let figure = engine.figure().ok_or("nothing was timed")?;
    Ok(vec![("", figure / f64::from(frames))])
}

/// Times walks of `walker`, and returns the number of frames that it visits.
#[inline]
pub(super) fn time(walker: &impl StackWalker, stopwatch: &mut Stopwatch) -> usize {
    let mut frames = 0;
    stopwatch.run(|| {
        frames = 0;
        black_box(walker.walk(&mut |frame| {
            black_box(frame.pc);
            frames += 1;
            ControlFlow::Continue(())
        }));
    });
    frames
}

fn by_activations(scene: &Scene<'_>, stopwatch: &mut Stopwatch) -> usize {
    time(&ActivationsWalker::new(scene.store.record()), stopwatch)
}

fn by_backtrace_walker(_: &Scene<'_>, stopwatch: &mut Stopwatch) -> usize {
    time(&vmexternref_backtrace::BacktraceWalker, stopwatch)
}

fn from_current_frame(scene: &Scene<'_>, stopwatch: &mut Stopwatch) -> usize {
    let end = scene.store.record().entry_fp() + 2 * size_of::<usize>();
    // SAFETY: this workspace is built with frame pointers, and the entry trampoline's record is
    // stack in use.
    let walker = unsafe { CurrentFrameWalker::new(scene.store.registry(), 0..end) };
    time(&walker, stopwatch)
}

fn by_backtrace(_: &Scene<'_>, stopwatch: &mut Stopwatch) -> usize {
    let mut frames = 0;
    stopwatch.run(|| {
        frames = 0;
        backtrace::trace(|frame| {
            black_box(frame.ip());
            frames += 1;
            true
        });
    });
    frames
}

/// A word of the stack between the exit and the entry trampoline.
#[inline]
fn stack_word(address: usize) -> usize {
    let word = ptr::with_exposed_provenance::<usize>(address);
    // SAFETY: callers pass addresses of frame records that compiled code below an entry trampoline
    // keeps.
    unsafe { word.read() }
}

/// Follows the chain, and checks only for its end.
fn by_hand(scene: &Scene<'_>, stopwatch: &mut Stopwatch) -> usize {
    let record = scene.store.record();
    let mut frames = 0;
    stopwatch.run(|| {
        frames = 0;
        let mut fp = record.exit_fp();
        while fp != record.entry_fp() {
            black_box(stack_word(fp + size_of::<usize>()));
            frames += 1;
            fp = stack_word(fp);
        }
    });
    frames
}

/// Unwinds from the youngest Wasm frame to the entry trampoline.
#[cfg(target_arch = "x86_64")]
fn by_framehop(scene: &Scene<'_>, stopwatch: &mut Stopwatch) -> usize {
    use framehop::Unwinder;
    use framehop::x86_64::{CacheX86_64, UnwindRegsX86_64, UnwinderX86_64};
    let record = scene.store.record();
    let mut unwinder = UnwinderX86_64::new();
    if let Some(code) = &scene.code {
        unwinder.add_module(framehop_module(code));
    }
    let mut cache = CacheX86_64::<_>::new();
    let end = record.entry_fp() as u64;
    let mut read = |address: u64| match usize::try_from(address) {
        Ok(at) if address < end => Ok(stack_word(at) as u64),
        _ => Err(()),
    };
    let (pc, exit) = (record.exit_pc() as u64, record.exit_fp());
    let registers = UnwindRegsX86_64::new(pc, exit as u64 + 16, stack_word(exit) as u64);
    let mut frames = 0;
    stopwatch.run(|| {
        frames = 0;
        let mut stack = unwinder.iter_frames(pc, registers, &mut cache, &mut read);
        while let Ok(Some(frame)) = stack.next() {
            black_box(frame);
            frames += 1;
        }
    });
    frames
}

#[cfg(target_arch = "x86_64")]
fn framehop_module(code: &Placement) -> framehop::Module<Vec<u8>> {
    let range = |range: &core::ops::Range<usize>| range.start as u64..range.end as u64;
    let start = ptr::with_exposed_provenance::<u8>(code.eh_frame.start);
    // SAFETY: the mapping holds the unwind tables of the module that runs, and is never written
    // again.
    let eh_frame = unsafe { core::slice::from_raw_parts(start, code.eh_frame.len()) };
    framehop::Module::new(
        String::from("guest"),
        range(&code.text),
        0,
        framehop::ExplicitModuleSectionInfo {
            base_svma: 0,
            text_svma: Some(range(&code.text)),
            eh_frame_svma: Some(range(&code.eh_frame)),
            eh_frame: Some(eh_frame.to_vec()),
            ..Default::default()
        },
    )
}

#[cfg(not(target_arch = "x86_64"))]
fn by_framehop(_: &Scene<'_>, _: &mut Stopwatch) -> usize {
    0
}
