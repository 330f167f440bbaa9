//! Two objects that hold each other go when nobody else holds them.
use std::cell::RefCell;
use vmexternref::{CycleCollector, Trace, VMExternRef};

struct Friend(RefCell<Vec<VMExternRef>>);

impl Trace for Friend {
    fn trace(&self, visit: &mut dyn FnMut(&VMExternRef)) {
        self.0.borrow().iter().for_each(visit);
    }
    fn unlink(&self) {
        self.0.take();
    }
}
impl Drop for Friend {
    fn drop(&mut self) {
        println!("a friend is gone");
    }
}

pub(crate) fn main() {
    let collector = CycleCollector::new();
    let ada = collector.new_traced(Friend(RefCell::default()));
    let bob = collector.new_traced(Friend(RefCell::new(vec![ada.clone()])));
    let friend = ada.downcast_ref::<Friend>().expect("a friend");
    friend.0.borrow_mut().push(bob);
    drop(ada);
    assert_eq!(collector.collect().freed, 2);
}
