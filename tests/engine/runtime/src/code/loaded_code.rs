//! Placed code whose stack maps are registered.

use crate::code::code_placer::PlacedCode;
use crate::error::{LoadError, PlaceError};
use alloc::boxed::Box;
use alloc::sync::Arc;
use core::fmt;
use vmexternref_core::{Matching, ModuleStackMaps, RegisterError, Registration, StackMapRegistry};
use vmexternref_engine_abi::CompiledModule;

/// Code in place, with its stack maps registered.
///
/// Dropping it unregisters the stack maps and frees the code.
pub(crate) struct LoadedCode {
    /// `None` only while the value is dropped.
    registration: Option<Registration>,
    registry: Arc<StackMapRegistry>,
    placed: Box<dyn PlacedCode>,
}

impl LoadedCode {
    /// Registers the stack maps of a module, whose code `place` puts where it can run.
    ///
    /// # Safety
    ///
    /// When the value is dropped, no frame of the code is on a stack.
    pub(crate) unsafe fn new(
        registry: &Arc<StackMapRegistry>,
        compiled: &mut CompiledModule,
        place: impl FnOnce(&mut CompiledModule) -> Result<Box<dyn PlacedCode>, PlaceError>,
    ) -> Result<Self, LoadError> {
        let maps = stack_maps(compiled).map_err(LoadError::StackMaps)?;
        let placed = place(compiled).map_err(LoadError::Place)?;
        let registration = registry
            .register(placed.base().expose_provenance(), maps)
            .map_err(LoadError::StackMaps)?;
        Ok(Self {
            registration: Some(registration),
            registry: Arc::clone(registry),
            placed,
        })
    }

    /// The address of the first byte of the text.
    pub(crate) fn base(&self) -> *const u8 {
        self.placed.base()
    }
}

impl Drop for LoadedCode {
    fn drop(&mut self) {
        if let Some(registration) = self.registration.take() {
            // SAFETY: the caller of `new` promised that no frame of the code is on a stack.
            let unregistered = unsafe { self.registry.unregister(registration) };
            debug_assert!(unregistered.is_ok(), "the registration is of this registry");
        }
    }
}

impl fmt::Debug for LoadedCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoadedCode")
            .field("base", &self.base())
            .finish_non_exhaustive()
    }
}

/// The module's functions, its calls and its section of stack maps, for the registry.
///
/// Where all calls are known, matching is strict: a frame at another one shows that something is
/// wrong.
fn stack_maps(compiled: &CompiledModule) -> Result<ModuleStackMaps, RegisterError> {
    let bytes = u32::try_from(compiled.text.len()).map_err(|_| RegisterError::AddressOverflow)?;
    let matching = match &*compiled.return_addresses {
        [] => Matching::Exact,
        _ => Matching::Strict,
    };
    let mut maps = ModuleStackMaps::new(bytes, matching);
    for range in &compiled.functions {
        maps.function(range.clone())?;
    }
    for &offset in &compiled.return_addresses {
        maps.return_address(offset)?;
    }
    maps.stack_map_section(&compiled.stack_maps)?;
    Ok(maps)
}
