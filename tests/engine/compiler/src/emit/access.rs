//! Flags for loads and stores.

use cranelift_codegen::ir::{
    AliasRegion, AliasRegionData, AliasRegionSet, Endianness, Function, MemFlagsData,
};
use vmexternref::cranelift::ReferenceAccess;

/// Flags for every kind of load and store in one function.
///
/// Each kind is an alias region of its own: a store to one does not affect loads from another.
/// After a call, the code generator assumes nothing about any region, so that a call may change
/// them all.
#[derive(Clone, Copy)]
pub(crate) struct Access {
    /// Pointers that do not change while an instance lives. Such a load may move anywhere.
    pub(crate) fixed: MemFlagsData,
    /// Words that the runtime may change during a call: function references, the store's context.
    pub(crate) runtime: MemFlagsData,
    /// Addresses and lengths of tables and memories.
    pub(crate) bounds: MemFlagsData,
    /// The bytes of linear memories.
    pub(crate) heap: MemFlagsData,
    /// The elements of tables.
    pub(crate) elements: MemFlagsData,
    /// The values of globals.
    pub(crate) globals: MemFlagsData,
    /// Reference counts and the activations table.
    pub(crate) references: ReferenceAccess,
}

/// The region of spilled references.
const SPILLS: u32 = 0;

impl Access {
    /// The flags for `func`.
    pub(crate) fn new(func: &mut Function) -> Self {
        let trusted = MemFlagsData::trusted();
        let mut region = |id, description| {
            let region = insert(&mut func.dfg.alias_regions, id, description);
            trusted.with_alias_region(Some(region))
        };
        let heap = region(3, "linear memory").alias_region();
        Self {
            fixed: trusted.with_readonly().with_can_move(),
            runtime: region(1, "runtime"),
            bounds: region(2, "bounds"),
            heap: MemFlagsData::new()
                .with_notrap()
                .with_endianness(Endianness::Little)
                .with_alias_region(heap),
            elements: region(4, "table elements"),
            globals: region(5, "globals"),
            references: ReferenceAccess {
                counts: region(6, "reference counts"),
                free_slots: region(7, "free slots"),
                slots: region(8, "slots"),
            },
        }
    }
}

fn insert(regions: &mut AliasRegionSet, user_id: u32, description: &'static str) -> AliasRegion {
    regions.insert(AliasRegionData {
        user_id,
        description: description.into(),
    })
}

/// The region of the stack slots that hold references across calls.
pub(crate) fn spill_region(regions: &mut AliasRegionSet) -> AliasRegion {
    insert(regions, SPILLS, "spilled references")
}
