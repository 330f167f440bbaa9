//! Guards: small functions that check the stack's limit on behalf of large ones.
//!
//! A function checks the limit when its frame exists already. A guard has next to no frame, checks for the frame
//! to come, and leaves with a tail call, so that a host need not keep room for the largest frame below the limit.

use cranelift_codegen::ir::InstBuilder;
use vmexternref_engine_abi::{Builtin, FuncType, TrapCode};

use crate::emit::emitter::Emitter;
use crate::emit::symbol::Symbol;

/// How far below the stack's limit compiled code may write, in bytes.
///
/// The host keeps that room below the limit, and what its own functions and the runtime's need.
pub const UNGUARDED_FRAME_BYTES: u32 = 1024;

/// Code that needs a guard, and the parameter that is the `vmctx` of a Wasm function.
#[derive(Clone, Copy)]
pub(crate) struct Guarded {
    /// The guard has this name.
    pub(crate) guard: Symbol,
    /// The code behind the guard has this one.
    pub(crate) code: Symbol,
    vmctx: usize,
}

impl Guarded {
    /// A function of the module.
    pub(crate) fn function(index: u32) -> Self {
        Self {
            guard: Symbol::Function(index),
            code: Symbol::GuardedFunction(index),
            vmctx: 0,
        }
    }

    /// An exit trampoline; its first parameter belongs to the host.
    pub(crate) fn exit(ty: u32) -> Self {
        Self {
            guard: Symbol::Exit(ty),
            code: Symbol::GuardedExit(ty),
            vmctx: 1,
        }
    }

    /// Builds the guard for code that needs a frame of `frame_bytes`.
    pub(crate) fn build(self, mut emit: Emitter<'_, '_>, ty: &FuncType, frame_bytes: u32) {
        let params = emit.params();
        let vmctx = params[self.vmctx];
        let exhausted = emit.stack_exhausted(vmctx, frame_bytes);
        let (trap, proceed) = (emit.builder.create_block(), emit.builder.create_block());
        emit.builder.set_cold_block(trap);
        emit.ins().brif(exhausted, trap, &[], proceed, &[]);

        emit.builder.switch_to_block(proceed);
        let env = emit.env;
        let code = emit.callee(self.code, || env.wasm_signature(ty));
        emit.ins().return_call(code, &params);

        emit.builder.switch_to_block(trap);
        let number = emit.constant(TrapCode::StackOverflow.number());
        emit.call_builtin(Builtin::Raise, &[vmctx, number]);
        emit.unreachable();
        emit.finish();
    }
}
