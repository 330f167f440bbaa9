//! Prints whether this build has frame pointers.

fn main() {
    println!("{}", vmexternref_frame_pointer::host_has_frame_pointers());
}
