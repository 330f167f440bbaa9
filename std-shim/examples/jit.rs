//! A host with a just-in-time compiler, from nothing to the last freed object.
//!
//! Cranelift compiles this guest; `make`, `collect` and `show` are functions of the host:
//!
//! ```text
//!   fn guest(host) {
//!       let a = make(host, 1);
//!       let b = make(host, 2);
//!       collect(host);            // frees 2: the guest does not use `b` any more
//!       show(host, a);
//!       collect(host);            // frees 1
//!   }
//! ```
//!
//! Run it with `cargo run -p vmexternref --features cranelift --example jit`.

use cranelift_codegen::control::ControlPlane;
use cranelift_codegen::gimli::RunTimeEndian;
use cranelift_codegen::gimli::write::{Address, EhFrame, EndianVec, FrameTable};
use cranelift_codegen::ir::{AbiParam, InstBuilder, Signature, Type, Value, types};
use cranelift_codegen::isa::{OwnedTargetIsa, TargetIsa, unwind::UnwindInfo};
use cranelift_codegen::settings::{self, Configurable};
use cranelift_codegen::{CompiledCode, Context};
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext};
use memmap2::{Mmap, MmapMut};
use std::cell::RefCell;
use std::error::Error;
use std::rc::Rc;
use vmexternref::{
    Matching, ModuleStackMaps, StackMapRegistry, UnwindTables, VMExternRef,
    VMExternRefActivationsTable, cranelift, gc, insert_with_gc,
};

pub(crate) fn main() -> Result<(), Box<dyn Error>> {
    let isa = host_isa()?;
    let compiled = compile_guest(&*isa)?;
    let code = Code::place(&*isa, &compiled)?;

    let host = Host::default();
    let mut module = ModuleStackMaps::new(compiled.buffer.total_size(), Matching::Exact);
    cranelift::add_function(&mut module, 0, &compiled.buffer)?;
    host.registry
        .register(code.memory.as_ptr().addr(), module)?;

    // The canary tells collections how far the walk has to come: to this frame.
    host.table.with_stack_canary(|| code.call(&host));

    assert_eq!(
        *host.freed.borrow(),
        [2, 1],
        "each object went when its last use was over"
    );
    Ok(())
}

/// One host context: what host functions find behind the guest's first argument.
#[derive(Default)]
struct Host {
    registry: StackMapRegistry,
    table: VMExternRefActivationsTable,
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

extern "C" fn make(host: &Host, number: i64) -> *mut u8 {
    let object = VMExternRef::new(Object {
        number,
        freed: Rc::clone(&host.freed),
    });
    let raw = object.as_raw();
    // SAFETY: the canary is set, and the registry has Cranelift's own stack maps.
    unsafe { insert_with_gc(&host.table, object, &host.registry) };
    println!("object {number} is made");
    raw
}

extern "C" fn collect(host: &Host) {
    // SAFETY: the canary is set, the registry has Cranelift's own stack maps, and `make` inserted
    // every reference that the guest has.
    let report = unsafe { gc(&host.registry, &host.table) };
    println!("collection: {report}");
}

extern "C" fn show(_host: &Host, object: *mut u8) {
    // SAFETY: the guest passes what `make` returned, and nothing was collected since it did.
    let object = unsafe { VMExternRef::clone_from_raw(object) };
    let number = object.downcast_ref::<Object>().map(|object| object.number);
    println!("the guest shows object {number:?}");
}

fn host_isa() -> Result<OwnedTargetIsa, Box<dyn Error>> {
    let mut flags = settings::builder();
    // Slots of a frame are found from its frame pointer.
    flags.set("preserve_frame_pointers", "true")?;
    Ok(cranelift_native::builder()?.finish(settings::Flags::new(flags))?)
}

/// Compiles the guest. The host functions' addresses are constants in its code.
fn compile_guest(isa: &dyn TargetIsa) -> Result<CompiledCode, Box<dyn Error>> {
    // A reference is a word of the host's to Cranelift.
    let word = isa.pointer_type();
    let mut context = Context::new();
    context.func.signature = signature(isa, &[word], &[]);
    let mut builder_context = FunctionBuilderContext::new();
    let mut builder = FunctionBuilder::new(&mut context.func, &mut builder_context);
    let block = builder.create_block();
    builder.append_block_params_for_function_params(block);
    builder.switch_to_block(block);
    builder.seal_all_blocks();
    let host = builder.block_params(block)[0];

    let make = HostFunction::new(
        make as *const (),
        signature(isa, &[word, types::I64], &[word]),
    );
    let collect = HostFunction::new(collect as *const (), signature(isa, &[word], &[]));
    let show = HostFunction::new(show as *const (), signature(isa, &[word, word], &[]));

    let mut references = Vec::new();
    for number in [1, 2] {
        let number = builder.ins().iconst(types::I64, number);
        let reference = make.call(&mut builder, &[host, number])[0];
        // From here on, stack maps have this value wherever it is still needed.
        builder.declare_value_needs_stack_map(reference);
        references.push(reference);
    }
    collect.call(&mut builder, &[host]);
    show.call(&mut builder, &[host, references[0]]);
    collect.call(&mut builder, &[host]);
    builder.ins().return_(&[]);
    builder.finalize(isa.frontend_config());

    let compiled = context.compile(isa, &mut ControlPlane::default());
    Ok(compiled.map_err(|error| error.inner)?.clone())
}

fn signature(isa: &dyn TargetIsa, params: &[Type], returns: &[Type]) -> Signature {
    let mut signature = Signature::new(isa.default_call_conv());
    signature
        .params
        .extend(params.iter().copied().map(AbiParam::new));
    signature
        .returns
        .extend(returns.iter().copied().map(AbiParam::new));
    signature
}

/// A function of the host that the guest calls.
struct HostFunction {
    address: i64,
    signature: Signature,
}

impl HostFunction {
    fn new(function: *const (), signature: Signature) -> Self {
        Self {
            address: function.expose_provenance().cast_signed() as i64,
            signature,
        }
    }

    fn call<'b>(&self, builder: &'b mut FunctionBuilder<'_>, arguments: &[Value]) -> &'b [Value] {
        let word = builder.func.signature.params[0].value_type;
        let address = builder.ins().iconst(word, self.address);
        let signature = builder.import_signature(self.signature.clone());
        let call = builder.ins().call_indirect(signature, address, arguments);
        builder.inst_results(call)
    }
}

/// The guest in executable memory, with unwind tables so that the system can walk through it.
struct Code {
    // Dropped first: the unwinder must not know code that is gone.
    _tables: UnwindTables,
    memory: Mmap,
}

impl Code {
    fn place(isa: &dyn TargetIsa, compiled: &CompiledCode) -> Result<Self, Box<dyn Error>> {
        let mut memory = MmapMut::map_anon(compiled.buffer.data().len())?;
        memory.copy_from_slice(compiled.buffer.data());
        let memory = memory.make_exec()?;
        let tables = unwind_tables(isa, compiled, memory.as_ptr().addr())?;
        // SAFETY: Cranelift made the tables for this code, and they go before it does.
        let tables = unsafe { UnwindTables::register(tables)? };
        Ok(Self {
            _tables: tables,
            memory,
        })
    }

    fn call(&self, host: &Host) {
        // SAFETY: the guest was compiled with this signature, for this calling convention.
        let guest: extern "C" fn(&Host) = unsafe { std::mem::transmute(self.memory.as_ptr()) };
        guest(host);
    }
}

/// An `.eh_frame` section for the guest, ended as the unwinder wants it.
fn unwind_tables(
    isa: &dyn TargetIsa,
    compiled: &CompiledCode,
    address: usize,
) -> Result<Box<[u8]>, Box<dyn Error>> {
    let mut table = FrameTable::default();
    let cie = isa
        .create_systemv_cie()
        .ok_or("no unwind tables for this architecture")?;
    let cie = table.add_cie(cie);
    match compiled.create_unwind_info(isa)? {
        Some(UnwindInfo::SystemV(info)) => {
            table.add_fde(cie, info.to_fde(Address::Constant(address as u64)));
        }
        _ => return Err("no unwind tables for this platform".into()),
    }
    let mut section = EhFrame(EndianVec::new(RunTimeEndian::default()));
    table.write_eh_frame(&mut section)?;
    let mut bytes = section.0.into_vec();
    bytes.extend([0; 4]);
    Ok(bytes.into())
}
