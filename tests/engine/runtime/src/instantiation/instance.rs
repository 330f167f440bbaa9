//! Instances as the host holds them.

use crate::code::Module;
use crate::external::Extern;
use crate::heap::Shared;
use crate::item::InstanceItem;
use core::fmt;

/// An instance of a module.
///
/// It is a cheap handle. The store keeps the instance itself.
#[derive(Clone)]
pub struct Instance(pub(crate) Shared<InstanceItem>);

impl Instance {
    /// The export of that name.
    #[must_use]
    pub fn export(&self, name: &str) -> Option<Extern> {
        self.0.export(name)
    }

    /// All exports, with their names.
    pub fn exports(&self) -> impl Iterator<Item = (&str, Extern)> {
        let exports = self.0.module.exports().iter();
        exports.filter_map(|export| Some((&*export.name, self.0.exported(export.item)?)))
    }

    /// The module that it is an instance of.
    #[must_use]
    pub fn module(&self) -> &Module {
        &self.0.module
    }
}

impl fmt::Debug for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Instance")
            .field("vmctx", &Shared::as_ptr(&self.0))
            .finish_non_exhaustive()
    }
}
