//! Trampolines into and out of compiled code.
//!
//! The host calls functions through *entry* trampolines, which record where the activation begins
//! and where a trap resumes. Functions call host functions through *exit* trampolines and the
//! runtime through *builtin* trampolines. Both record where the activation ends, so that a
//! collection can walk it.
//!
//! An interpreter knows both places. There, trampolines only convert arguments and results.

use crate::emit::emitter::{Emitter, array_offset};
use cranelift_codegen::ir::{
    Block, BlockArg, BlockCall, ExceptionTableData, ExceptionTableItem, InstBuilder, MemFlagsData,
    StackSlotData, StackSlotKind, Type, Value, types,
};
use vmexternref::cranelift;
use vmexternref_engine_abi::{Builtin, FuncType, HostCall, VMOffsets, ValType};

/// `(callee vmctx, caller vmctx, code, values) -> trapped`, with the host's convention.
pub(crate) fn entry(mut emit: Emitter<'_, '_>, ty: &FuncType) {
    let params = emit.params();
    let [callee, caller, code, values] = params[..] else {
        unreachable!("the signature has four parameters");
    };
    let mut args = vec![callee, caller];
    args.extend(load_values(&mut emit, &ty.params, values));

    let results = if emit.env.interpreted {
        call_code(&mut emit, ty, code, &args)
    } else {
        call_under_handler(&mut emit, ty, code, &args, caller)
    };
    store_values(&mut emit, &results, values);
    let done = emit.constant(0);
    emit.ins().return_(&[done]);
    emit.finish();
}

fn call_code(emit: &mut Emitter<'_, '_>, ty: &FuncType, code: Value, args: &[Value]) -> Vec<Value> {
    let signature = emit.env.wasm_signature(ty);
    let signature = emit.builder.import_signature(signature);
    let call = emit.ins().call_indirect(signature, code, args);
    emit.builder.inst_results(call).to_vec()
}

/// Records where the activation begins and where a trap resumes, and calls the code.
///
/// Goes on where the call has returned.
fn call_under_handler(
    emit: &mut Emitter<'_, '_>,
    ty: &FuncType,
    code: Value,
    args: &[Value],
    caller: Value,
) -> Vec<Value> {
    let context = emit.store_context(caller);
    let calling = emit.builder.create_block();
    emit.ins().jump(calling, &[]);
    emit.builder.switch_to_block(calling);
    record_entry(emit, context);
    let pointer = emit.env.pointer;
    let handler = emit
        .ins()
        .get_exception_handler_address(pointer, calling, 0);
    let offset = emit.env.vm.store_handler_pc();
    set(emit, context, offset, handler);
    let (returned, trapped) = try_call(emit, ty, code, args);

    emit.builder.switch_to_block(trapped);
    let status = emit.constant(1);
    emit.ins().return_(&[status]);

    emit.builder.switch_to_block(returned);
    emit.builder.block_params(returned).to_vec()
}

fn record_entry(emit: &mut Emitter<'_, '_>, context: Value) {
    let pointer = emit.env.pointer;
    let vm = emit.env.vm;
    let frame = emit.ins().get_frame_pointer(pointer);
    let stack = emit.ins().get_stack_pointer(pointer);
    cranelift::record_entry(&mut emit.builder, context, vm.store_record().into());
    set(emit, context, vm.store_handler_fp(), frame);
    set(emit, context, vm.store_handler_sp(), stack);
}

fn try_call(
    emit: &mut Emitter<'_, '_>,
    ty: &FuncType,
    code: Value,
    args: &[Value],
) -> (Block, Block) {
    let returned = emit.builder.create_block();
    let trapped = emit.builder.create_block();
    emit.builder.set_cold_block(trapped);
    let signature = emit.env.wasm_signature(ty);
    let mut results = Vec::new();
    for (index, result) in (0..).zip(&signature.returns) {
        emit.builder.append_block_param(returned, result.value_type);
        results.push(BlockArg::TryCallRet(index));
    }
    let signature = emit.builder.import_signature(signature);
    let pool = &mut emit.builder.func.dfg.value_lists;
    let table = ExceptionTableData::new(
        signature,
        BlockCall::new(returned, results, pool),
        [ExceptionTableItem::Default(BlockCall::new(
            trapped,
            [],
            pool,
        ))],
    );
    let table = emit.builder.func.dfg.exception_tables.push(table);
    emit.ins().try_call_indirect(code, args, table);
    (returned, trapped)
}

/// `(host context, caller vmctx, parameters…) -> results`, with the convention of Wasm functions.
pub(crate) fn exit(mut emit: Emitter<'_, '_>, ty: &FuncType) {
    let params = emit.params();
    let [host, caller, args @ ..] = &params[..] else {
        unreachable!("the signature has two contexts");
    };
    let (host, caller) = (*host, *caller);
    if !emit.env.interpreted {
        record_exit(&mut emit, caller);
    }
    let values = value_array(&mut emit, ty);
    store_values(&mut emit, args, values);
    if emit.env.interpreted {
        emit.call_host(HostCall::Function, &[host, caller, values]);
    } else {
        call_host_function(&mut emit, host, caller, values);
    }
    let results = load_values(&mut emit, &ty.results, values);
    emit.ins().return_(&results);
    emit.finish();
}

/// Calls a host function by its address, and goes on where it did not trap.
fn call_host_function(emit: &mut Emitter<'_, '_>, host: Value, caller: Value, values: Value) {
    let pointer = emit.env.pointer;
    let (offset, flags) = (emit.env.vm.host_func_call(), emit.access.runtime);
    let function = emit.ins().load(pointer, flags, host, i32::from(offset));
    let signature = emit.env.host_call_signature();
    let signature = emit.builder.import_signature(signature);
    let call = emit
        .ins()
        .call_indirect(signature, function, &[host, caller, values]);
    let status = emit.builder.inst_results(call)[0];
    let (returned, trapped) = (emit.builder.create_block(), emit.builder.create_block());
    emit.builder.set_cold_block(trapped);
    emit.ins().brif(status, trapped, &[], returned, &[]);

    emit.builder.switch_to_block(trapped);
    call_runtime(emit, Builtin::ResumeTrap, &[caller]);
    emit.unreachable();
    emit.builder.switch_to_block(returned);
}

fn value_array(emit: &mut Emitter<'_, '_>, ty: &FuncType) -> Value {
    let bytes = u32::try_from(ty.slots() * usize::from(VMOffsets::VALUE_SIZE));
    let bytes = bytes.expect("a valid function has at most a thousand parameters and results");
    let slot = emit.builder.create_sized_stack_slot(StackSlotData::new(
        StackSlotKind::ExplicitSlot,
        bytes,
        3,
    ));
    let pointer = emit.env.pointer;
    emit.ins().stack_addr(pointer, slot, 0)
}

/// `(vmctx, parameters…) -> result`, with the convention of Wasm functions.
pub(crate) fn builtin(mut emit: Emitter<'_, '_>, builtin: Builtin) {
    let args = emit.params();
    let results = if emit.env.interpreted {
        let call = emit.call_host(HostCall::Builtin(builtin), &args);
        emit.builder.inst_results(call).to_vec()
    } else {
        record_exit(&mut emit, args[0]);
        call_runtime(&mut emit, builtin, &args)
    };
    if builtin.diverges() {
        emit.unreachable();
    } else {
        emit.ins().return_(&results);
    }
    emit.finish();
}

fn record_exit(emit: &mut Emitter<'_, '_>, vmctx: Value) {
    let context = emit.store_context(vmctx);
    let record = i32::from(emit.env.vm.store_record());
    cranelift::record_exit(&mut emit.builder, context, record);
}

fn call_runtime(emit: &mut Emitter<'_, '_>, builtin: Builtin, args: &[Value]) -> Vec<Value> {
    let builtins = emit.env.vm.context_builtins();
    let word = emit.env.vm.pointer_bytes();
    let addresses = emit.fixed(args[0], builtins);
    let function = emit.fixed(addresses, array_offset(builtin.number(), word));
    let signature = emit.env.host_builtin_signature(builtin);
    let signature = emit.builder.import_signature(signature);
    let call = emit.ins().call_indirect(signature, function, args);
    emit.builder.inst_results(call).to_vec()
}

fn set(emit: &mut Emitter<'_, '_>, base: Value, offset: u8, value: Value) {
    let flags = emit.access.runtime;
    emit.ins().store(flags, value, base, i32::from(offset));
}

fn load_values(emit: &mut Emitter<'_, '_>, types: &[ValType], values: Value) -> Vec<Value> {
    let flags = emit.access.runtime;
    let load = |(index, ty): (u32, &ValType)| {
        let ty = emit.env.value_type(*ty);
        let slot = array_offset(index, VMOffsets::VALUE_SIZE);
        let offset = slot + emit.env.offset_in_slot(ty);
        emit.ins().load(ty, flags, values, offset)
    };
    (0..).zip(types).map(load).collect()
}

fn store_values(emit: &mut Emitter<'_, '_>, list: &[Value], values: Value) {
    let flags = emit.access.runtime;
    for (index, value) in (0..).zip(list) {
        let bits = bits(emit, *value);
        let offset = array_offset(index, VMOffsets::VALUE_SIZE);
        emit.ins().store(flags, bits, values, offset);
    }
}

/// A value's bits, zero-extended to the size of a slot where they are fewer.
fn bits(emit: &mut Emitter<'_, '_>, value: Value) -> Value {
    let ty: Type = emit.builder.func.dfg.value_type(value);
    let narrow = match ty {
        types::F32 => emit.ins().bitcast(types::I32, MemFlagsData::new(), value),
        _ => value,
    };
    if ty.bytes() < u32::from(VMOffsets::VALUE_SIZE) {
        emit.ins().uextend(types::I64, narrow)
    } else {
        narrow
    }
}
