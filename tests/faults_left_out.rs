//! What `cargo test` shows where the fault matrix would be, without the feature that it needs.

#[test]
#[ignore = "it needs `--features fault-points`, as `make test` gives it"]
fn the_fault_matrix_is_left_out() {
    panic!("the fault matrix needs `--features fault-points`, as `make test` gives it");
}
