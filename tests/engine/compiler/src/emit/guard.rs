//! Guards: small functions that check the stack's limit for functions with large frames.
//!
//! A function checks the limit when its own frame exists already. A guard has a small frame, checks
//! the limit for the large frame, and then makes a tail call. So a host need not keep room for the
//! largest frame below the limit.

use crate::emit::emitter::Emitter;
use crate::emit::symbol::Symbol;
use cranelift_codegen::ir::InstBuilder;
use vmexternref_engine_abi::{Builtin, FuncType, TrapCode};

/// Bytes below the stack's limit that compiled code may write.
///
/// The host keeps that much room below the limit, and room for its own functions and the runtime's.
pub const UNGUARDED_FRAME_BYTES: u32 = 1024;

/// Code that needs a guard.
#[derive(Clone, Copy)]
pub(crate) struct Guarded {
    /// The name of the guard.
    pub(crate) guard: Symbol,
    /// The name of the code that the guard calls.
    pub(crate) code: Symbol,
    /// The index of the parameter that is the `vmctx` of a Wasm function.
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

    /// An exit trampoline. Its first parameter is the host's.
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
