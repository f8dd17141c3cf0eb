//! Repositories of Git by the real program, over directories of this host.

use std::path::{Path, PathBuf};
use std::process::Command;

use consort_git::{Credentials, Error, Reference, Remote, Repositories, commit_of};
use tokio_util::sync::CancellationToken;

/// A repository that a test writes to.
struct Origin(PathBuf);

impl Origin {
    fn new(at: &Path) -> Self {
        std::fs::create_dir_all(at).unwrap();
        let origin = Self(at.to_owned());
        origin.git(&["init", "--quiet", "--initial-branch=main"]);
        origin
    }

    fn git(&self, arguments: &[&str]) -> String {
        let output = Command::new("git")
            .arg("-C")
            .arg(&self.0)
            .args(["-c", "user.name=Ann", "-c", "user.email=ann@example.org"])
            .args(["-c", "protocol.file.allow=always"])
            .args(arguments)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "git {arguments:?}: {said}");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    fn commit(&self, file: &str, content: &str, subject: &str) -> String {
        let path = self.0.join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--allow-empty", "-m", subject]);
        self.git(&["rev-parse", "HEAD"])
    }

    fn remote(&self) -> Remote {
        self.0.to_str().unwrap().parse().unwrap()
    }
}

struct Setting {
    _dir: tempfile::TempDir,
    origin: Origin,
    repositories: Repositories,
    cancel: CancellationToken,
}

impl Setting {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self {
            origin: Origin::new(&dir.path().join("origin")),
            repositories: Repositories::open(&dir.path().join("a cache")).unwrap(),
            cancel: CancellationToken::new(),
            _dir: dir,
        }
    }

    async fn tree(&self, reference: &str) -> Result<consort_git::Tree, Error> {
        let (remote, none) = (self.origin.remote(), Credentials::default());
        let reference: Reference = reference.parse()?;
        let resolved = self
            .repositories
            .resolve(&remote, &none, &reference, &self.cancel)
            .await?;
        self.repositories
            .tree(&remote, &none, &resolved, &self.cancel)
            .await
    }
}

#[tokio::test]
async fn branches_tags_and_commits_give_the_trees_they_point_to() {
    let setting = Setting::new();
    let first = setting.origin.commit("deploy/a.yaml", "one", "First");
    setting.origin.git(&["tag", "-a", "v1", "-m", "Version 1"]);
    let second = setting
        .origin
        .commit("deploy/a.yaml", "two", "Second\n\nMore.");
    setting.origin.git(&["branch", "feature/x"]);
    for (reference, commit, content) in [
        ("", &second, "two"),
        ("main", &second, "two"),
        ("feature/x", &second, "two"),
        ("v1", &first, "one"),
        ("refs/tags/v1", &first, "one"),
        (first.as_str(), &first, "one"),
        (&first[..9], &first, "one"),
    ] {
        let tree = setting.tree(reference).await.unwrap();
        assert_eq!(&tree.commit.id, commit, "{reference}");
        let read = std::fs::read_to_string(tree.at("deploy").unwrap().join("a.yaml")).unwrap();
        assert_eq!(read, content, "{reference}");
    }
    let tree = setting.tree("main").await.unwrap();
    assert_eq!(tree.commit.author, "Ann <ann@example.org>");
    assert_eq!(tree.commit.subject, "Second");
    assert!(!tree.directory.join(".git").exists());
    assert!(matches!(tree.at("../x"), Err(Error::Path { .. })));
    assert!(matches!(tree.at("nothing"), Err(Error::Path { .. })));

    let missing = setting.tree("nobody").await;
    assert!(
        matches!(missing, Err(Error::NoReference { .. })),
        "{missing:?}"
    );
}

#[tokio::test]
async fn a_branch_that_was_rewritten_is_followed() {
    let setting = Setting::new();
    setting.origin.commit("a", "one", "First");
    setting.tree("main").await.unwrap();
    setting.origin.commit("a", "two", "Second");
    setting
        .origin
        .git(&["reset", "--quiet", "--hard", "HEAD~1"]);
    let other = setting.origin.commit("b", "three", "Other");
    let tree = setting.tree("main").await.unwrap();
    assert_eq!(tree.commit.id, other);
    assert!(tree.directory.join("b").exists());
}

#[tokio::test]
async fn a_link_out_of_the_repository_is_refused_and_leaves_nothing() {
    let setting = Setting::new();
    std::fs::create_dir(setting.origin.0.join("in")).unwrap();
    std::os::unix::fs::symlink("../../../../etc/passwd", setting.origin.0.join("in/bad")).unwrap();
    let id = setting.origin.commit("a", "one", "First");
    for _ in 0..2 {
        let refused = setting.tree("main").await;
        assert!(
            matches!(&refused, Err(Error::Link { path, .. }) if path == "in/bad"),
            "{refused:?}"
        );
    }
    std::fs::remove_file(setting.origin.0.join("in/bad")).unwrap();
    std::os::unix::fs::symlink("../a", setting.origin.0.join("in/good")).unwrap();
    let next = setting.origin.commit("a", "two", "Second");
    assert_ne!(id, next);
    let tree = setting.tree("main").await.unwrap();
    assert_eq!(
        std::fs::read_to_string(tree.directory.join("in/good")).unwrap(),
        "two"
    );
}

#[tokio::test]
async fn hooks_filters_and_submodules_of_a_repository_are_not_run() {
    let setting = Setting::new();
    let marker = setting.origin.0.join("../marker");
    let touch = format!("touch {}", marker.display());
    setting
        .origin
        .commit(".gitattributes", "* filter=evil", "Attributes");
    setting
        .origin
        .git(&["config", "filter.evil.smudge", &touch]);
    setting
        .origin
        .git(&["config", "uploadpack.packObjectsHook", &touch]);
    let other = Origin::new(&setting.origin.0.join("../other"));
    other.commit("x", "x", "X");
    let other = other.0.display().to_string();
    setting
        .origin
        .git(&["submodule", "--quiet", "add", &other, "sub"]);
    setting.origin.commit("a", "one", "First");
    let tree = setting.tree("main").await.unwrap();
    assert_eq!(
        std::fs::read_to_string(tree.directory.join("a")).unwrap(),
        "one"
    );
    assert_eq!(tree.submodules, ["sub"]);
    assert!(!tree.directory.join("sub/x").exists());
    assert!(!marker.exists());
}

#[tokio::test]
async fn a_mirror_that_is_broken_is_made_anew() {
    let setting = Setting::new();
    setting.origin.commit("a", "one", "First");
    setting.tree("main").await.unwrap();
    let mirrors = setting.origin.0.join("../a cache/mirrors");
    let mirror = std::fs::read_dir(mirrors)
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    std::fs::remove_dir_all(mirror.join("objects")).unwrap();
    std::fs::write(mirror.join("shallow.lock"), "").unwrap();
    setting.origin.commit("a", "two", "Second");
    let tree = setting.tree("main").await.unwrap();
    assert_eq!(
        std::fs::read_to_string(tree.directory.join("a")).unwrap(),
        "two"
    );
}

#[tokio::test]
async fn what_cannot_be_had_is_told_apart() {
    let setting = Setting::new();
    let (none, cancel) = (Credentials::default(), &setting.cancel);
    let ask = async |url: &str, credentials: &Credentials| {
        let remote: Remote = url.parse().unwrap();
        let main = ["main".parse().unwrap()];
        setting
            .repositories
            .advertised(&remote, credentials, &main, cancel)
            .await
            .unwrap_err()
    };
    let error = ask("/nowhere/at/all", &none).await;
    assert!(matches!(error, Error::NoRepository { .. }), "{error:?}");
    let error = ask("http://127.0.0.1:1/x", &none).await;
    assert!(
        matches!(error, Error::Unreachable { .. }) && error.is_transient(),
        "{error:?}"
    );
    let error = ask("ssh://git@127.0.0.1:1/x", &none).await;
    assert!(
        matches!(&error, Error::Credentials { said, .. } if said.contains("known_hosts")),
        "{error:?}"
    );
    let secret = Credentials::basic("ann", "swordfish");
    let error = ask("http://198.51.100.1/x", &secret).await;
    assert!(
        matches!(&error, Error::Credentials { said, .. } if said.contains("in the clear")),
        "{error:?}"
    );
    assert!(!format!("{error:?} {secret:?}").contains("swordfish"));
}

#[tokio::test]
async fn a_directory_knows_its_commit_only_while_nothing_in_it_was_changed() {
    let setting = Setting::new();
    let id = setting.origin.commit("deploy/a", "one", "First");
    let dir = setting.origin.0.join("deploy");
    assert_eq!(commit_of(&dir).await.unwrap().id, id);
    std::fs::write(setting.origin.0.join("elsewhere"), "x").unwrap();
    assert_eq!(commit_of(&dir).await.unwrap().id, id);
    std::fs::write(dir.join("new"), "x").unwrap();
    assert_eq!(commit_of(&dir).await, None);
    let none = tempfile::tempdir().unwrap();
    assert_eq!(commit_of(none.path()).await, None);
}
