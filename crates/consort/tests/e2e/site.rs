//! Playbooks as parts of scores: `examples/site` from nothing to nothing, and one that is followed in Git.

use crate::harness::{Cluster, Ran};

const SITE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/site");

fn consort(cluster: &Cluster, words: &str) -> String {
    format!(
        "CONSORT_DATA_DIR={} TF_VAR_root={}/work/root consort {words}",
        cluster.data_dir().display(),
        cluster.path().display()
    )
}

/// A root file system with a shell, and the libraries that the program itself needs.
fn root(cluster: &Cluster) {
    cluster.ok(
        "mkdir -p root/bin root/etc root/root root/tmp root/var root/proc root/sys root/dev root/run root/srv && \
         cp \"$(command -v busybox)\" root/bin/busybox && \
         for name in sh cat echo sleep id mkdir ls touch grep test rmdir rm head uname mktemp chmod; do \
         ln -s busybox root/bin/$name; done && \
         for library in $(ldd \"$(readlink -f \"$(command -v consort)\")\" | grep -o '/[^ ]*'); do \
         mkdir -p root$(dirname $library) && cp -L $library root$library; done && \
         echo root:x:0:0:root:/root:/bin/sh > root/etc/passwd && echo root:x:0: > root/etc/group",
    );
}

#[test]
fn a_site_is_planned_applied_drifts_is_cut_off_resumed_pruned_and_destroyed() {
    let mut cluster = Cluster::unstarted();
    root(&cluster);
    cluster.ok(&format!("cp -r {SITE} site"));
    cluster.launch(&["--no-node"]);
    let run = |words: &str| cluster.ok(&consort(&cluster, words));
    let try_to = |words: &str| -> Ran { cluster.sh(&consort(&cluster, words)) };
    let within = |words: &str| {
        let data = cluster.data_dir();
        format!(
            "CONSORT_DATA_DIR={} consort machine exec web1 -- {words}",
            data.display()
        )
    };

    // The machine is made in the same walk: what is done on it is planned, and known later.
    let plan = run("plan site");
    for expected in [
        "+   consort_machine.web",
        "+   web1[\"Write the page\"]",
        "because its address is known after apply",
        "6 to create; 0 points",
    ] {
        assert!(plan.contains(expected), "{expected:?} in:\n{plan}");
    }
    let applied = run("apply site --auto-approve 2>&1");
    assert!(applied.contains("Operation site-1 succeeded"), "{applied}");
    let machine = applied.find("done   +   infra/consort_machine.web");
    let first = applied.find("begin  +   web/web1[\"Make a directory for pages\"]");
    assert!(machine.is_some() && machine < first, "{applied}");
    cluster.shows(&within("cat /srv/www/index.html"), "<title>web1</title>");
    cluster.shows(&within("cat /run/site.reload"), "8080");
    let again = run("plan site");
    assert!(again.contains("nothing to do, 5 unchanged"), "{again}");

    // What somebody changes is told, and put back: here by whoever applies it, as nobody looks after it meanwhile.
    run("suspend site");
    cluster.ok(&within("sh -c 'echo mine > /srv/www/index.html'"));
    let drift = try_to("drift site");
    assert_eq!(drift.code, 2, "{drift:?}");
    assert!(
        drift.stdout.contains("web/web1[\"Write the page\"]"),
        "{drift:?}"
    );
    let applied = run("apply site --auto-approve 2>&1");
    assert!(applied.contains("1 of 1 done"), "{applied}");
    cluster.shows(&within("cat /srv/www/index.html"), "<title>web1</title>");
    let drift = try_to("drift site");
    assert_eq!(drift.code, 0, "{drift:?}");

    // Who asks about the host, or about a file on it, hears what set it.
    let host = run("why web1");
    assert!(host.contains("host web1 has 4 things"), "{host}");
    assert!(host.contains("file /etc/site.conf"), "{host}");
    let file = run("why web1:/etc/site.conf");
    assert!(
        file.contains("web/web1[\"Note how it is served\"] was made by operation site-1"),
        "{file}"
    );

    // Whoever carries it out is killed between a change and the handler that it notifies.
    cluster.ok(
        "sed -i 's/^  handlers:/    - name: Wait for a word\\n      ansible.builtin.wait_for: {path: \\/srv\\/word, timeout: 60, \
         sleep: 1}\\n\\n    - name: Say what was heard\\n      ansible.builtin.copy: {content: heard, dest: \\/srv\\/heard}\\n\\n&/; \
         s/^          root=/          edition=2\\n&/' site/site.yml",
    );
    let apply = consort(&cluster, "apply site --auto-approve 2>&1");
    let apply = apply.replace(" consort apply", " exec consort apply");
    let mut walk = cluster.spawn(&format!("echo $$ > walk.pid; {apply}"));
    walk.until_line("done   ~   web/web1[\"Note how it is served\"]");
    cluster.ok("kill -KILL $(cat walk.pid)");
    drop(walk);
    cluster.ok(&within("rm /run/site.reload"));
    cluster.ok(&within("touch /srv/word"));
    let resumed = run("resume site 2>&1");
    assert!(resumed.contains("Operation site-3 succeeded"), "{resumed}");
    cluster.shows(&within("cat /etc/site.conf"), "edition=2");
    cluster.shows(&within("cat /srv/heard"), "heard");
    // The handler ran although the file was as it should be by then.
    cluster.shows(&within("cat /run/site.reload"), "8080");
    let again = run("plan site");
    assert!(again.contains("nothing to do"), "{again}");

    // What no task names any more goes; what is wrong is told at its place, and nothing is done.
    cluster.ok("cp -r site wrong && sed -i 's/{{ greeting }}/{{ greting }}/' wrong/templates/index.html.j2");
    let wrong = try_to("plan wrong");
    assert_ne!(wrong.code, 0, "{wrong:?}");
    for expected in [
        "'greting' is undefined",
        "at site.yml:",
        "at templates/index.html.j2",
    ] {
        assert!(wrong.stderr.contains(expected), "{expected} in {wrong:?}");
    }
    cluster.ok("sed -i '/Say what was heard/,+2d' site/site.yml");
    let plan = run("plan site");
    assert!(
        plan.contains("no longer declared: file /srv/heard"),
        "{plan}"
    );
    run("apply site --auto-approve");
    cluster.fails(&within("test -e /srv/heard"));

    // History, and back.
    cluster.shows(&consort(&cluster, "history"), "site-4");
    let back = run("rollback site-1 --auto-approve 2>&1");
    assert!(back.contains("succeeded"), "{back}");
    assert!(
        !cluster
            .ok(&within("cat /etc/site.conf"))
            .contains("edition")
    );
    let destroyed = try_to("destroy site --auto-approve 2>&1");
    let destroyed = if destroyed.code == 7 {
        let id = destroyed.stdout.split("consort approve ").nth(1);
        let id = id.and_then(|rest| rest.split_whitespace().next());
        let id = id.expect("the plan's id").to_owned();
        run(&format!("approve {id}"));
        try_to(&format!("apply {id}"))
    } else {
        destroyed
    };
    assert_eq!(destroyed.code, 0, "{destroyed:?}");
    assert_eq!(
        cluster.ok("kubectl get hostrecords -n consort-system -o name"),
        ""
    );
    cluster.stop();
}

/// A score with one playbook on this machine, which writes below the test's directory.
fn pages(cluster: &Cluster, name: &str, word: &str, more: &str) {
    let kept = cluster.path().join("kept");
    cluster.write(
        &format!("{name}/consort.yaml"),
        &format!(
            "apiVersion: consort.dev/v1\nkind: Score\nmetadata: {{name: pages}}\nspec:\n  parts:\n    - name: web\n      \
             playbook:\n        path: site.yml\n        hosts: {{web: [{{name: here, connection: local}}]}}\n        \
             variables: {{place: {}}}\n        prune: true\n    - name: rules\n      policy: {{path: policy}}\n  \
             approval: {{threshold: 10}}\n",
            kept.display()
        ),
    );
    cluster.write(
        &format!("{name}/site.yml"),
        &format!(
            "- hosts: web\n  gather_facts: false\n  tasks:\n    - file: {{path: \"{{{{ place }}}}\", state: directory}}\n    \
             - name: Page\n      copy: {{content: {word}, dest: \"{{{{ place }}}}/page\"}}\n{more}"
        ),
    );
    cluster.write(
        &format!("{name}/policy/rules.rego"),
        "package rules\n\nimport rego.v1\n\ndeny contains msg if {\n\tsome r in input.resource_changes\n\t\
         r.type == \"ansible.builtin.shell\"\n\tmsg := sprintf(\"no shell: %s\", [r.address])\n}\n",
    );
}

#[test]
fn a_playbook_is_guarded_by_policies_and_points_and_followed_in_git_with_its_drift_put_back() {
    let mut cluster = Cluster::unstarted();
    cluster.launch(&["--no-node"]);
    let run = |words: &str| cluster.ok(&consort(&cluster, words));
    let page = cluster.path().join("kept/page");
    let read = || std::fs::read_to_string(&page).unwrap_or_default();

    pages(&cluster, "pages", "one", "");
    run("apply pages --auto-approve");
    assert_eq!(read(), "one");
    pages(&cluster, "pages", "one", "    - shell: echo no\n");
    let denied = cluster.sh(&consort(&cluster, "apply pages --auto-approve 2>&1"));
    assert_eq!(denied.code, 6, "{denied:?}");
    assert!(denied.stdout.contains("no shell: web/here"), "{denied:?}");

    // A command on the only machine reaches too far to be without somebody's word.
    let ran = cluster.path().join("kept/ran");
    let command = "    - name: Mark\n      command: touch {{ place }}/ran\n      args: {creates: \"{{ place }}/ran\"}\n      \
                   notify: told\n  handlers:\n    - name: told\n      command: touch {{ place }}/told\n";
    pages(&cluster, "pages", "two", command);
    let held = cluster.sh(&consort(&cluster, "apply pages --auto-approve 2>&1"));
    assert_eq!(held.code, 7, "{held:?}");
    assert!(held.stdout.contains("runs a command 20%"), "{held:?}");
    assert!(!ran.exists() && read() == "one");
    let id = held.stdout.split("consort approve ").nth(1);
    let id = id.and_then(|rest| rest.split_whitespace().next());
    let id = id.expect("the plan's id").to_owned();
    run(&format!("approve {id}"));
    run(&format!("apply {id}"));
    assert!(ran.exists() && page.with_file_name("told").exists());
    assert_eq!(read(), "two");

    // Followed in Git: a commit is planned and applied, and what it set names it.
    cluster.ok(
        "cp -r pages repo && cd repo && git init -q -b main && git add -A && \
                git -c user.name=Ada -c user.email=ada@example.com commit -qm 'The pages'",
    );
    run(&format!(
        "score add pages --git {}/work/repo --ref main --interval 1s",
        cluster.path().display()
    ));
    cluster.ok(
        "kubectl -n consort-system patch score pages --type=merge -p '{\"spec\": {\"sync\": {\"driftInterval\": \"2s\"}}}'",
    );
    cluster.ok(
        "cd repo && sed -i 's/content: two/content: three/' site.yml && \
         git -c user.name=Ada -c user.email=ada@example.com commit -qam 'Say three'",
    );
    cluster.until("the commit is carried out", || {
        (read() == "three").then_some(())
    });
    cluster.until("the commit is recorded", || {
        let history = cluster.sh(&consort(&cluster, "history"));
        let line = history
            .stdout
            .lines()
            .find(|line| line.contains("Say three"))?;
        line.contains("succeeded").then_some(())
    });
    cluster.shows(
        &consort(&cluster, &format!("why here:{}", page.display())),
        "\"Say three\" was written by Ada <ada@example.com>",
    );

    // What somebody changes is put back by an operation of its own.
    std::fs::write(&page, "mine").unwrap();
    cluster.until("the drift is put back", || {
        (read() == "three").then_some(())
    });
    cluster.until("the repair is told", || {
        let why = cluster.sh(&consort(&cluster, &format!("why here:{}", page.display())));
        why.stdout
            .contains("to put back what had drifted")
            .then_some(())
    });
    run("score rm pages");
    cluster.stop();
}
