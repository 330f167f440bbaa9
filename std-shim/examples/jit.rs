//! A host with a just-in-time compiler, from nothing to the last freed object.
//!
//! Cranelift compiles this guest; `make`, `collect` and `show` are functions of the host, and
//! `element` is what a Wasm table would hold:
//!
//! ```text
//!   fn guest() {
//!       element = make(1);
//!       make(2);
//!       let held = element;       // table.get: compiled code inserts it, without a call
//!       element = null;           // table.set: compiled code counts
//!       collect();                // frees 2, which nobody holds
//!       show(held);
//!       collect();                // frees 1: the guest does not use it any more
//!   }
//! ```
//!
//! Run it with `cargo run -p vmexternref --features cranelift --example jit`.

use cranelift_codegen::control::ControlPlane;
use cranelift_codegen::ir::{AbiParam, InstBuilder, MemFlagsData, Signature, Type, Value, types};
use cranelift_codegen::isa::{OwnedTargetIsa, TargetIsa};
use cranelift_codegen::settings::{self, Configurable};
use cranelift_codegen::{CompiledCode, Context};
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext};
use memmap2::{Mmap, MmapMut};
use std::cell::{Cell, RefCell};
use std::error::Error;
use std::mem::offset_of;
use std::ptr;
use std::rc::Rc;
use vmexternref::cranelift::{References, add_function, unwind_tables};
use vmexternref::{
    Matching, ModuleStackMaps, StackMapRegistry, UnwindTables, VMExternRef,
    VMExternRefActivationsTable, drop_extern_ref, gc_with_backtrace, insert_with_backtrace,
};

/// One host context: what compiled code and host functions find behind the guest's argument.
#[repr(C)]
struct Host {
    table: VMExternRefActivationsTable,
    /// A reference with a count, or null.
    element: Cell<*mut u8>,
    registry: StackMapRegistry,
    /// The numbers of the objects that were freed, in order.
    freed: Rc<RefCell<Vec<i64>>>,
}

/// A host object. Any type will do; this one tells when it is dropped.
struct Object {
    number: i64,
    freed: Rc<RefCell<Vec<i64>>>,
}

impl Drop for Object {
    fn drop(&mut self) {
        println!("object {} is freed", self.number);
        self.freed.borrow_mut().push(self.number);
    }
}

pub(crate) fn main() -> Result<(), Box<dyn Error>> {
    let host = Host {
        table: VMExternRefActivationsTable::new(),
        element: Cell::new(ptr::null_mut()),
        registry: StackMapRegistry::new(),
        freed: Rc::default(),
    };
    let isa = host_isa()?;
    let guest = compile_guest(&*isa)?;
    let code = place(guest.buffer.data())?;
    let address = code.as_ptr().addr();

    // What collections must know: where references are in the guest's frame …
    let mut module = ModuleStackMaps::new(guest.buffer.total_size(), Matching::Strict);
    add_function(&mut module, 0, &guest.buffer)?;
    host.registry.register(address, module)?;
    // … and how to walk past that frame.
    let tables = unwind_tables(&*isa, address, [(0, &guest)])?;
    // SAFETY: Cranelift made the tables for this code, which is mapped for longer.
    let tables = unsafe { UnwindTables::register(tables)? };

    // SAFETY: the guest was compiled with this signature, for this calling convention.
    let guest: extern "C" fn(&Host) = unsafe { std::mem::transmute(code.as_ptr()) };
    // The canary tells collections how far the walk has to come: to this frame.
    host.table.with_stack_canary(|| guest(&host));
    drop(tables);

    let freed = host.freed.borrow();
    assert_eq!(*freed, [2, 1], "each went when its last use was over");
    Ok(())
}

extern "C" fn make(host: &Host, number: i64) -> *mut u8 {
    let freed = Rc::clone(&host.freed);
    let object = VMExternRef::new(Object { number, freed });
    let raw = object.as_raw();
    // SAFETY: the canary is set, and the registry has Cranelift's own stack maps.
    unsafe { insert_with_backtrace(&host.table, object, &host.registry) };
    raw
}

/// What compiled code calls where the activations table is full.
extern "C" fn insert(host: &Host, raw: *mut u8) {
    // SAFETY: the guest has just loaded the reference, and nothing was collected since.
    let reference = unsafe { VMExternRef::clone_from_raw(raw) };
    // SAFETY: as in `make`.
    unsafe { insert_with_backtrace(&host.table, reference, &host.registry) };
}

extern "C" fn collect(host: &Host) {
    // SAFETY: as in `make`, and every reference that the guest holds was inserted.
    let report = unsafe { gc_with_backtrace(&host.registry, &host.table) };
    println!("collection: {report}");
}

extern "C" fn show(_host: &Host, raw: *mut u8) {
    // SAFETY: the guest holds the reference, so it is in the table.
    let object = unsafe { VMExternRef::clone_from_raw(raw) };
    let number = object.downcast_ref::<Object>().map(|object| object.number);
    println!("the guest shows object {number:?}");
}

fn host_isa() -> Result<OwnedTargetIsa, Box<dyn Error>> {
    let mut flags = settings::builder();
    // Slots of a frame are found from its frame pointer.
    flags.set("preserve_frame_pointers", "true")?;
    Ok(cranelift_native::builder()?.finish(settings::Flags::new(flags))?)
}

fn compile_guest(isa: &dyn TargetIsa) -> Result<CompiledCode, Box<dyn Error>> {
    // To Cranelift, a reference is a word of the host's.
    let word = isa.pointer_type();
    let mut context = Context::new();
    context.func.signature = signature(isa, &[word], &[]);
    let mut builder_context = FunctionBuilderContext::new();
    let mut builder = FunctionBuilder::new(&mut context.func, &mut builder_context);
    let block = builder.create_block();
    builder.append_block_params_for_function_params(block);
    builder.switch_to_block(block);
    builder.seal_block(block);
    let host = builder.block_params(block)[0];

    let address_of = |function: *const ()| function.expose_provenance().cast_signed() as i64;
    let make = (
        address_of(make as *const ()),
        signature(isa, &[word, types::I64], &[word]),
    );
    let insert = (
        address_of(insert as *const ()),
        signature(isa, &[word, word], &[]),
    );
    let collect = (
        address_of(collect as *const ()),
        signature(isa, &[word], &[]),
    );
    let show = (
        address_of(show as *const ()),
        signature(isa, &[word, word], &[]),
    );
    let destroy = (
        address_of(drop_extern_ref as *const ()),
        signature(isa, &[word], &[]),
    );

    let references = References::new(isa);
    let trusted = MemFlagsData::trusted();
    let element = i64::try_from(offset_of!(Host, element))?;
    let element = builder.ins().iadd_imm_u(host, element);
    let table = i32::try_from(offset_of!(Host, table))?;

    // element = make(1)
    let one = builder.ins().iconst(types::I64, 1);
    let made = call(&mut builder, &make, &[host, one])[0];
    // From here on, stack maps have this value wherever it is still needed.
    builder.declare_value_needs_stack_map(made);
    let release = references.replace(&mut builder, made, element, trusted);
    call(&mut builder, &destroy, &[release.dead()]);
    release.finish(&mut builder);
    // make(2)
    let two = builder.ins().iconst(types::I64, 2);
    call(&mut builder, &make, &[host, two]);
    // held = element
    let loaded = builder.ins().load(word, trusted, element, 0);
    let insertion = references.insert(&mut builder, host, table, loaded);
    call(&mut builder, &insert, &[host, loaded]);
    let held = insertion.finish(&mut builder);
    // element = null
    let null = builder.ins().iconst(word, 0);
    let release = references.replace(&mut builder, null, element, trusted);
    call(&mut builder, &destroy, &[release.dead()]);
    release.finish(&mut builder);

    call(&mut builder, &collect, &[host]);
    call(&mut builder, &show, &[host, held]);
    call(&mut builder, &collect, &[host]);
    builder.ins().return_(&[]);
    builder.finalize(isa.frontend_config());

    let compiled = context.compile(isa, &mut ControlPlane::default());
    Ok(compiled.map_err(|error| error.inner)?.clone())
}

fn signature(isa: &dyn TargetIsa, params: &[Type], returns: &[Type]) -> Signature {
    let mut signature = Signature::new(isa.default_call_conv());
    let abi = |types: &[Type]| -> Vec<_> { types.iter().copied().map(AbiParam::new).collect() };
    signature.params = abi(params);
    signature.returns = abi(returns);
    signature
}

/// Calls a function of the host, by its address.
fn call<'b>(
    builder: &'b mut FunctionBuilder<'_>,
    (address, signature): &(i64, Signature),
    arguments: &[Value],
) -> &'b [Value] {
    let word = builder.func.signature.params[0].value_type;
    let address = builder.ins().iconst(word, *address);
    let signature = builder.import_signature(signature.clone());
    let call = builder.ins().call_indirect(signature, address, arguments);
    builder.inst_results(call)
}

fn place(code: &[u8]) -> Result<Mmap, Box<dyn Error>> {
    let mut memory = MmapMut::map_anon(code.len())?;
    memory.copy_from_slice(code);
    Ok(memory.make_exec()?)
}
