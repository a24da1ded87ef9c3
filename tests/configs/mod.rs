//! Bad configs: a file a mistake, with the words that must be said at its foot, and nothing else may be said.
//!
//! `# expect: 5: server.hostnme: there is no such key` is the beginning of a problem as it is printed, without the file's name;
//! `-` stands in place of the line for what is not written.

use std::fs;
use std::path::Path;

use waxseal::config::Config;
use waxseal::config::problem::Severity;

#[test]
fn every_mistake_is_told_in_the_words_expected() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/configs");
    let mut seen = 0;
    let mut wrong = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "toml") {
            continue;
        }
        seen += 1;
        let text = fs::read_to_string(&path).unwrap();
        if let Err(told) = check(&text) {
            wrong.push(format!("{}:\n{told}", path.display()));
        }
    }
    assert!(seen >= 60, "only {seen} files: the folder is not read");
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// Each expectation has its problem, each problem its expectation, and the file is refused.
fn check(text: &str) -> Result<(), String> {
    let as_printed = |line: &str| match line.strip_prefix("-: ") {
        Some(unwritten) => format!("c: {unwritten}"),
        None => format!("c:{line}"),
    };
    let expected = text.lines().filter_map(|line| line.strip_prefix("# expect: ")).map(as_printed);
    let problems = match Config::parse(text, Path::new("/etc/waxseal")) {
        Ok(_) => return Err("  is accepted".to_owned()),
        Err(problems) => problems,
    };
    if problems.iter().all(|problem| problem.severity == Severity::Warning) {
        return Err("  is refused without an error".to_owned());
    }
    let mut told: Vec<String> = problems.iter().map(|problem| problem.in_file("c").to_string()).collect();
    let mut unmet = Vec::new();
    for expected in expected {
        match told.iter().position(|line| line.starts_with(&expected)) {
            Some(index) => drop(told.remove(index)),
            None => unmet.push(format!("  expected: {expected}")),
        }
    }
    unmet.extend(told.iter().map(|line| format!("  not expected: {line}")));
    if unmet.is_empty() { Ok(()) } else { Err(unmet.join("\n")) }
}

/// A recipe that does not work is worse than none: each must be right beside the config of the page's second section.
#[test]
fn the_recipes_of_the_deployment_page_are_right() {
    let page = include_str!("../../docs/DEPLOY.md");
    let blocks: Vec<&str> =
        page.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap_or_default()).collect();
    let (whole, recipes) = blocks.split_first().unwrap();
    assert!(recipes.len() >= 4, "the page is not read");
    let (before, after) = (whole.split("[upstream]").next().unwrap(), whole.split_once("\n[web]").unwrap().1);
    let recipes = recipes.iter().map(|recipe| format!("{before}{recipe}\n[web]{after}"));
    for text in recipes.chain([(*whole).to_owned()]) {
        let told = match Config::parse(&text, Path::new("/etc/waxseal")) {
            Ok(parsed) => parsed.warnings,
            Err(problems) => problems,
        };
        let told: Vec<String> = told.iter().map(|problem| problem.in_file("DEPLOY.md").to_string()).collect();
        assert_eq!(told, Vec::<String>::new(), "\n{text}");
    }
}
