//! Every target over its seeds, on the stack that a server's thread has.

use std::thread;

use consort_fuzz::{all, run};

#[test]
fn what_must_always_hold_holds_for_deep_and_huge_and_plain_inputs() {
    for target in all() {
        let over = thread::Builder::new()
            .name(target.name.to_owned())
            .stack_size(2 << 20)
            .spawn(move || {
                for seed in (target.seeds)() {
                    run(target, &seed);
                }
            })
            .expect("a thread");
        assert!(over.join().is_ok(), "{}", target.name);
    }
}

#[test]
fn no_two_targets_share_a_name() {
    let mut names: Vec<&str> = all().map(|target| target.name).collect();
    names.sort_unstable();
    let count = names.len();
    names.dedup();
    assert_eq!(names.len(), count);
}
