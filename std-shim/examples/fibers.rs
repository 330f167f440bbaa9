//! Guests on stacks of their own, suspended inside a host call while they hold references.
//!
//! ```text
//!   stack of fiber 1:  host --entry--> guest() { held = make(); --exit--> wait() … suspended
//!   stack of fiber 2:  host --entry--> guest() { held = make(); --exit--> wait() … suspended
//!   this stack:        collects over the records of both
//! ```
//!
//! The compiler's part is that of the example `activations`. Run it with
//! `cargo run -p vmexternref --features cranelift,frame-pointer --example fibers`.

use corosensei::{Coroutine, CoroutineResult, Yielder};
use cranelift_codegen::Context;
use cranelift_codegen::control::ControlPlane;
use cranelift_codegen::ir::{AbiParam, InstBuilder, Value};
use cranelift_codegen::isa::OwnedTargetIsa;
use cranelift_codegen::settings::{self, Configurable};
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext};
use memmap2::{Mmap, MmapMut};
use std::cell::Cell;
use std::error::Error;
use std::rc::Rc;
use std::{iter, ptr};
use vmexternref::cranelift::{add_function, record_entry, record_exit};
use vmexternref::{
    ActivationRecord, ActivationsWalker, Matching, ModuleStackMaps, StackMapRegistry, StacksWalker,
    VMExternRef, VMExternRefActivationsTable, gc,
};

/// One host context, for all fibers. Compiled code knows its first field.
#[repr(C)]
struct Host {
    /// That of the running stack. Compiled code writes here.
    record: ActivationRecord,
    table: VMExternRefActivationsTable,
    registry: StackMapRegistry,
    /// Where `wait` yields to: set while a fiber runs.
    yielder: Cell<*const Yielder<(), ()>>,
}

/// A guest with a stack.
struct Fiber {
    coroutine: Coroutine<(), (), ()>,
    /// The fiber's count of the host is kept here, so that a stack may be thrown away.
    host: Rc<Host>,
    /// What the host's record says of this stack, while others run.
    record: ActivationRecord,
}

impl Fiber {
    fn new(host: &Rc<Host>, guest: Function) -> Self {
        let context = Rc::as_ptr(host);
        let coroutine = Coroutine::new(move |yielder, ()| {
            // SAFETY: the fiber counts its host for as long as it has this stack.
            let host = unsafe { &*context };
            host.yielder.set(yielder);
            // SAFETY: compiled code is entered and left through trampolines that write the record.
            unsafe { host.record.enter(|| guest(host, ptr::null_mut())) };
        });
        Self {
            coroutine,
            host: Rc::clone(host),
            record: ActivationRecord::new(),
        }
    }

    /// Runs the guest until it waits or ends, and says whether it has ended.
    fn resume(&mut self) -> bool {
        // SAFETY: the records change places as the stacks do.
        unsafe { self.host.record.swap(&self.record) };
        let result = self.coroutine.resume(());
        // SAFETY: as above, back again.
        unsafe { self.host.record.swap(&self.record) };
        matches!(result, CoroutineResult::Return(()))
    }

    /// Throws the stack away, although a guest is suspended on it.
    fn throw_away(mut self) {
        // SAFETY: nothing on the stack needs to be dropped. What `enter` would restore there is the
        // fiber's own record, which goes with it.
        unsafe { self.coroutine.force_reset() };
    }
}

/// Every function here, compiled or not: of a context and a reference, to a reference.
type Function = extern "C" fn(&Host, *mut u8) -> *mut u8;

extern "C" fn make(host: &Host, _: *mut u8) -> *mut u8 {
    let object = VMExternRef::new("a host object");
    let raw = object.as_raw();
    host.table.insert_without_gc(object);
    raw
}

extern "C" fn wait(host: &Host, argument: *mut u8) -> *mut u8 {
    let yielder = host.yielder.get();
    // SAFETY: the running fiber has set it. It lives on that fiber's stack until the fiber ends.
    unsafe { (*yielder).suspend(()) };
    // Other fibers ran, and set theirs.
    host.yielder.set(yielder);
    argument
}

/// Collects while `fibers` are suspended, and says how many references were freed.
fn collect(host: &Host, fibers: &[Fiber]) -> usize {
    let records = fibers.iter().map(|fiber| &fiber.record);
    let stacks = iter::once(&host.record).chain(records);
    // SAFETY: these are the records of all stacks, and each of those has its memory. The stack maps
    // are Cranelift's own, and `make` inserted every reference.
    let report = unsafe {
        let walker = StacksWalker::new(stacks.map(ActivationsWalker::new));
        gc(&host.registry, &host.table, &walker)
    };
    println!("{report}");
    report.freed
}

pub(crate) fn main() -> Result<(), Box<dyn Error>> {
    let host = Rc::new(Host {
        record: ActivationRecord::new(),
        table: VMExternRefActivationsTable::new(),
        registry: StackMapRegistry::new(),
        yielder: Cell::new(ptr::null()),
    });
    let mut flags = settings::builder();
    // The walker follows them.
    flags.set("preserve_frame_pointers", "true")?;
    let isa = cranelift_native::builder()?.finish(settings::Flags::new(flags))?;

    // Inside out, so that the address of each callee is known.
    let trampoline = |record: fn(&mut FunctionBuilder<'_>, Value, i32), callee: usize| {
        compile(&isa, None, |builder, host, argument| {
            record(builder, host, 0);
            call(builder, callee, host, argument)
        })
    };
    let exit_to_make = trampoline(record_exit, (make as *const ()).expose_provenance())?;
    let exit_to_wait = trampoline(record_exit, (wait as *const ()).expose_provenance())?;
    // Makes two objects, and holds one of them while it waits.
    let guest = compile(&isa, Some(&host.registry), |builder, host, argument| {
        let held = call(builder, address(&exit_to_make), host, argument);
        // From here on, stack maps have this value wherever it is still needed.
        builder.declare_value_needs_stack_map(held);
        call(builder, address(&exit_to_make), host, argument);
        call(builder, address(&exit_to_wait), host, argument);
        held
    })?;
    let entry = trampoline(record_entry, address(&guest))?;
    // SAFETY: the trampoline was compiled with this signature.
    let guest: Function = unsafe { std::mem::transmute(entry.as_ptr()) };

    let mut fibers: Vec<_> = (0..3).map(|_| Fiber::new(&host, guest)).collect();
    for fiber in &mut fibers {
        assert!(!fiber.resume(), "it waits");
    }
    assert_eq!(collect(&host, &fibers), 3, "each holds one of its two");

    // In another order than they began in; and one never goes on.
    assert!(fibers[1].resume(), "it ends");
    assert_eq!(collect(&host, &fibers), 1);
    fibers.remove(2).throw_away();
    assert_eq!(collect(&host, &fibers), 1);
    assert!(fibers[0].resume(), "it ends");
    assert_eq!(collect(&host, &fibers), 1);
    assert!(host.table.is_empty());
    Ok(())
}

/// Compiles a [`Function`] into executable memory, and registers it if it can hold references.
fn compile(
    isa: &OwnedTargetIsa,
    registry: Option<&StackMapRegistry>,
    build: impl FnOnce(&mut FunctionBuilder<'_>, Value, Value) -> Value,
) -> Result<Mmap, Box<dyn Error>> {
    let word = AbiParam::new(isa.pointer_type());
    let mut context = Context::new();
    context.func.signature.call_conv = isa.default_call_conv();
    context.func.signature.params = vec![word, word];
    context.func.signature.returns = vec![word];
    let mut builder_context = FunctionBuilderContext::new();
    let mut builder = FunctionBuilder::new(&mut context.func, &mut builder_context);
    let block = builder.create_block();
    builder.append_block_params_for_function_params(block);
    builder.switch_to_block(block);
    builder.seal_block(block);
    let (host, argument) = (
        builder.block_params(block)[0],
        builder.block_params(block)[1],
    );
    let result = build(&mut builder, host, argument);
    builder.ins().return_(&[result]);
    builder.finalize(isa.frontend_config());

    let compiled = context.compile(&**isa, &mut ControlPlane::default());
    let code = &compiled.map_err(|error| error.inner)?.buffer;
    let mut memory = MmapMut::map_anon(code.data().len())?;
    memory.copy_from_slice(code.data());
    let memory = memory.make_exec()?;
    if let Some(registry) = registry {
        let mut module = ModuleStackMaps::new(code.total_size(), Matching::Strict);
        add_function(&mut module, 0, code)?;
        registry.register(address(&memory), module)?;
    }
    Ok(memory)
}

/// Calls a [`Function`] by its address.
fn call(builder: &mut FunctionBuilder<'_>, callee: usize, host: Value, argument: Value) -> Value {
    let word = builder.func.dfg.value_type(host);
    let signature = builder.func.signature.clone();
    let signature = builder.import_signature(signature);
    let callee = builder.ins().iconst(word, callee.cast_signed() as i64);
    let call = builder
        .ins()
        .call_indirect(signature, callee, &[host, argument]);
    builder.inst_results(call)[0]
}

fn address(code: &Mmap) -> usize {
    code.as_ptr().expose_provenance()
}
