//! Trees drawn with lines, as `providers` and `modules` show them.

/// A node with what is below it.
pub(super) struct Branch {
    pub(super) name: String,
    pub(super) below: Vec<Branch>,
}

/// The tree, a line each, with a line break at the end.
pub(super) fn draw(root: &Branch) -> String {
    let mut text = format!("{}\n", root.name);
    below(root, "", &mut text);
    text
}

fn below(branch: &Branch, before: &str, text: &mut String) {
    for (index, child) in branch.below.iter().enumerate() {
        let last = index + 1 == branch.below.len();
        let (edge, further) = if last {
            ("└── ", "    ")
        } else {
            ("├── ", "│   ")
        };
        text.push_str(&format!("{before}{edge}{}\n", child.name));
        below(child, &format!("{before}{further}"), text);
    }
}
