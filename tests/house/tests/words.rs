//! Docs, names and messages follow the wording rules that a program can see.
#![allow(clippy::unwrap_used)] // a test fails by panicking

use std::fs;

use portico_house::words::{Openings, findings, openings, texts};

/// Greatest share of doc summaries that may open with What, Whether, How, Who or It, in percent.
const MOST_REFUSED: usize = 2;
/// Least share of doc summaries that open with a verb in the third person, in percent.
const LEAST_VERBS: usize = 30;

#[test]
fn doc_summaries_open_with_verbs_and_nouns() {
    let mut sum = Openings::default();
    let mut refused = Vec::new();
    for path in texts() {
        let (count, found) = openings(&path);
        sum =
            Openings { all: sum.all + count.all, verbs: sum.verbs + count.verbs, refused: sum.refused + count.refused };
        refused.extend(found.iter().map(ToString::to_string));
    }
    println!("{sum:?}");
    assert!(
        sum.refused * 100 <= sum.all * MOST_REFUSED,
        "{} of {} summaries open with What, Whether, How, Who or It: open them with a verb or a noun:\n{}",
        sum.refused,
        sum.all,
        refused.join("\n")
    );
    assert!(
        sum.verbs * 100 >= sum.all * LEAST_VERBS,
        "{} of {} summaries open with a verb in the third person: {LEAST_VERBS} % are needed",
        sum.verbs,
        sum.all
    );
}

#[test]
fn texts_use_the_words_of_the_field() {
    let found: Vec<_> = texts().iter().flat_map(|path| findings(path)).map(|finding| finding.to_string()).collect();
    assert!(found.is_empty(), "cannot accept {} places:\n{}", found.len(), found.join("\n"));
}

fn check(text: &str) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("lib.rs");
    fs::write(&path, text).unwrap();
    findings(&path).into_iter().map(|finding| finding.text).collect()
}

#[test]
fn each_rule_refuses_its_breach() {
    let word = concat!("no", "body");
    assert_eq!(check(&format!("// {word} waits\nfn f() {{}}")).len(), 1, "comment");
    assert_eq!(check(&format!("fn f() {{ g(\"{word} waits\") }}")).len(), 1, "message");
    assert_eq!(check(&format!("fn f() {{ panic!(\"{word} waits\") }}")).len(), 1, "message of a macro");
    assert_eq!(check(&format!("#[error(\"{word} waits\")] struct S;")).len(), 1, "message of an error");
    assert_eq!(check(&format!("fn {word}_waits() {{}}")).len(), 1, "name");
    assert_eq!(check("enum E { None }").len(), 1, "variant");
    assert_eq!(check("fn f() -> Option<Result<u8, ()>> { None }").len(), 1, "result");
    assert_eq!(check("fn f(flag: Option<bool>) {}").len(), 1, "parameter");
    assert_eq!(check(&format!("// {}\n", "wide ".repeat(30))).len(), 1, "width");
    assert_eq!(check("/// Returns the number of bytes.\nfn f() -> u8 { 0 }"), Vec::<String>::new());
}
