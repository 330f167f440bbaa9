//! A host without an unwinder: trampolines record where compiled code is entered and left.
//!
//! ```text
//!   host --entry--> guest() { held = make(); make(); collect(); collect_again(held); }
//!                      |--exit--> make and collect, in the host
//! ```
//!
//! Nothing is looked up to find a frame. A host without `std` does the same with the crates
//! `vmexternref-core` and `vmexternref-frame-pointer`. Run it with
//! `cargo run -p vmexternref --features cranelift,frame-pointer --example activations`.

use cranelift_codegen::Context;
use cranelift_codegen::control::ControlPlane;
use cranelift_codegen::ir::{AbiParam, InstBuilder, Value};
use cranelift_codegen::isa::OwnedTargetIsa;
use cranelift_codegen::settings::{self, Configurable};
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext};
use memmap2::{Mmap, MmapMut};
use std::cell::RefCell;
use std::error::Error;
use vmexternref::cranelift::{add_function, record_entry, record_exit};
use vmexternref::{
    ActivationRecord, ActivationsWalker, Matching, ModuleStackMaps, StackMapRegistry, VMExternRef,
    VMExternRefActivationsTable, gc,
};

/// One host context. Compiled code knows its first field.
#[repr(C)]
struct Host {
    record: ActivationRecord,
    table: VMExternRefActivationsTable,
    registry: StackMapRegistry,
    /// How many references each collection freed.
    freed: RefCell<Vec<usize>>,
}

/// Every function here, compiled or not: of a context and a reference, to a reference.
type Function = extern "C" fn(&Host, *mut u8) -> *mut u8;

extern "C" fn make(host: &Host, _: *mut u8) -> *mut u8 {
    let object = VMExternRef::new("a host object");
    let raw = object.as_raw();
    host.table.insert_without_gc(object);
    raw
}

extern "C" fn collect(host: &Host, argument: *mut u8) -> *mut u8 {
    let walker = ActivationsWalker::new(&host.record);
    // SAFETY: the trampolines write the record, the registry has Cranelift's own stack maps, and
    // `make` inserted every reference that the guest has.
    let report = unsafe { gc(&host.registry, &host.table, &walker) };
    println!("collection: {report}");
    host.freed.borrow_mut().push(report.freed);
    argument
}

pub(crate) fn main() -> Result<(), Box<dyn Error>> {
    let host = Host {
        record: ActivationRecord::new(),
        table: VMExternRefActivationsTable::new(),
        registry: StackMapRegistry::new(),
        freed: RefCell::default(),
    };
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
    let exit_to_collect = trampoline(record_exit, (collect as *const ()).expose_provenance())?;
    let guest = compile(&isa, Some(&host.registry), |builder, host, argument| {
        let held = call(builder, address(&exit_to_make), host, argument);
        // From here on, stack maps have this value wherever it is still needed.
        builder.declare_value_needs_stack_map(held);
        call(builder, address(&exit_to_make), host, argument);
        call(builder, address(&exit_to_collect), host, argument);
        call(builder, address(&exit_to_collect), host, held);
        argument
    })?;
    let entry = trampoline(record_entry, address(&guest))?;

    // SAFETY: the trampoline was compiled with this signature.
    let entry: Function = unsafe { std::mem::transmute(entry.as_ptr()) };
    // SAFETY: compiled code is entered and left through trampolines that write the record.
    unsafe { host.record.enter(|| entry(&host, std::ptr::null_mut())) };

    // The last call needs `held` as its argument, but not behind the call.
    assert_eq!(*host.freed.borrow(), [1, 1]);
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
