//! Scores in, blueprints out: each directory below `golden` is a script of steps over scores in it, and what comes of it
//! as people read it.
//!
//! A case has a file `steps` (without one it is `plan score`), the directories it speaks of, and `expected.txt`. The steps
//! run against the real API in process, without reconcilers and without a node, and against Terraform's built-in
//! resources. What differs from run to run (ids, times, paths) is masked.
//!
//! `UPDATE_GOLDEN=1 cargo test -p consort-score --test golden` writes the expectations anew; read the difference before
//! it is committed. `GOLDEN=name` runs one case.

#[path = "golden/bench.rs"]
mod bench;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bench::Bench;
use futures::StreamExt as _;

fn cases() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let only = std::env::var("GOLDEN").ok();
    let mut cases: Vec<PathBuf> = std::fs::read_dir(root)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir())
        .filter(|path| only.as_ref().is_none_or(|only| path.ends_with(only)))
        .collect();
    cases.sort();
    cases
}

#[tokio::test(flavor = "multi_thread")]
async fn scores_give_the_blueprints_that_are_written_down() {
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    let keys = Arc::new(bench::Keys::make());
    let cases = cases();
    assert!(std::env::var_os("GOLDEN").is_some() || cases.len() >= 40);
    let results: Vec<(String, Option<String>)> = futures::stream::iter(cases)
        .map(|case| {
            let keys = Arc::clone(&keys);
            async move {
                let name = case.file_name().unwrap().to_string_lossy().into_owned();
                let run = tokio::spawn({
                    let case = case.clone();
                    async move { Bench::run(&case, &keys).await }
                });
                let got = match run.await {
                    Ok(got) => got,
                    Err(ended) => return (name, Some(format!("{ended}"))),
                };
                let file = case.join("expected.txt");
                let expected = std::fs::read_to_string(&file).unwrap_or_default();
                if got == expected {
                    return (name, None);
                }
                if update {
                    std::fs::write(&file, &got).unwrap();
                    return (name, None);
                }
                let difference = similar::TextDiff::from_lines(&expected, &got)
                    .unified_diff()
                    .header("expected", "got")
                    .to_string();
                (name, Some(difference))
            }
        })
        .buffer_unordered(4)
        .collect()
        .await;
    let wrong: Vec<String> = results
        .into_iter()
        .filter_map(|(name, difference)| Some(format!("== {name}\n{}", difference?)))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
