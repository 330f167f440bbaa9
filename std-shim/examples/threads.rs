//! One registry for all threads, a store for each, and a store that moves to another thread.
//!
//! References stay on one thread, because counting them is not atomic. A store may still move as a
//! whole, with every reference to its objects. Run it with
//! `cargo run -p vmexternref --example threads`.

use std::error::Error;
use std::sync::Arc;
use std::thread;
use vmexternref::{
    Frame, Matching, ModuleStackMaps, RecordedWalker, StackMap, StackMapRegistry, VMExternRef,
    VMExternRefActivationsTable, WalkEnd, gc,
};

/// The code that all stores share; nothing is read there.
const CODE: usize = 0x1000;
const CALL: usize = CODE + 4;

/// A host context: everything that holds its references is in here.
#[derive(Default)]
struct Store {
    activations: VMExternRefActivationsTable,
    /// A Wasm table. No reference of it is ever given out, only the values are lent.
    elements: Vec<VMExternRef>,
}

impl Store {
    /// Takes only values that may themselves move to another thread.
    fn push<T: Send + 'static>(&mut self, value: T) {
        self.elements.push(VMExternRef::new(value));
    }

    /// What a guest does: holds an element in its frame while a collection runs.
    fn run(&mut self, registry: &StackMapRegistry) -> usize {
        let held = self.elements.pop().expect("an element");
        let stack = [held.as_raw().expose_provenance()];
        self.activations.insert_without_gc(held);
        self.activations
            .insert_without_gc(VMExternRef::new("garbage"));
        let frame = Frame::of_compiled_code(CALL, Some(stack.as_ptr().expose_provenance()), None);
        // SAFETY: this is the only frame, and its stack map is right.
        let report = unsafe {
            let walker = RecordedWalker::new(vec![frame], WalkEnd::Complete);
            gc(registry, &self.activations, &walker)
        };
        assert_eq!((report.roots, self.activations.len()), (1, 1));
        report.freed
    }
}

/// A store on its way to another thread.
struct Parcel(Store);

// SAFETY: a store owns every reference to its objects, no Wasm of it runs while it is moved, and
// the values may move (`Store::push`). So nothing of it is left behind on the old thread.
unsafe impl Send for Parcel {}

impl Parcel {
    fn open(self) -> Store {
        self.0
    }
}

pub(crate) fn main() -> Result<(), Box<dyn Error>> {
    let registry = Arc::new(StackMapRegistry::new());
    let mut module = ModuleStackMaps::new(0x10, Matching::Exact);
    module.function(0..0x10)?;
    module.safepoint(4, StackMap::new(Some(1), [0])?)?;
    let module = registry.register(CODE, module)?;

    let threads = (0..4_u64).map(|number| {
        let registry = Arc::clone(&registry);
        thread::spawn(move || {
            let mut store = Store::default();
            store.push(number);
            store.push(format!("object of thread {number}"));
            // Collections of different stores do not wait for each other, nor for registrations.
            let freed = store.run(&registry);
            (freed, Parcel(store))
        })
    });
    let threads: Vec<_> = threads.collect();
    // Meanwhile other code comes and goes.
    for _ in 0..100 {
        let other = ModuleStackMaps::new(0x10, Matching::Exact);
        let other = registry.register(0x9000, other)?;
        // SAFETY: no frame is in that code.
        unsafe { registry.unregister(other)? };
    }
    for thread in threads {
        let (freed, parcel) = thread.join().map_err(|_| "a thread panicked")?;
        assert_eq!(freed, 1);
        // Each store has moved here.
        let mut store = parcel.open();
        assert_eq!(
            store.run(&registry),
            2,
            "the garbage, and what the first frame held"
        );
    }
    // SAFETY: no frame is in that code.
    unsafe { registry.unregister(module)? };
    Ok(())
}
