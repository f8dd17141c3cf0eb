//! `consort image`.

use consort_image::Images;

use crate::cli::Image;
use crate::error::{Failure, Kind, Result, chain};
use crate::images::{Entry, Request, ask, hint, options, perform};
use crate::output;
use crate::server::running_pid;
use crate::settings::Configuration;

/// Works on the image store of a data directory, through the server if one runs on it.
pub(super) async fn run(configuration: &Configuration, command: Image) -> Result<()> {
    let (store, request) = match command {
        Image::Import { path, name, store } => {
            // The server has a working directory of its own.
            let path = std::path::absolute(&path)?;
            (store, Request::Import { path, name })
        }
        Image::List { store } => (store, Request::List),
        Image::Pull { name, store } => (store, Request::Pull { name }),
        Image::Rm {
            names,
            force,
            store,
        } => (store, Request::Remove { names, force }),
    };
    let data_dir = configuration.data_dir(store.data_dir.as_ref());
    let list = matches!(request, Request::List);
    let removed = matches!(request, Request::Remove { .. });
    let entries = if running_pid(&data_dir)?.is_some() {
        ask(&data_dir, &request).await?
    } else {
        let options = options(&data_dir, configuration.registries());
        let images =
            Images::open(options).map_err(|error| Failure::new(Kind::Failed, chain(&error)))?;
        perform(&images, request).await.map_err(|error| {
            let hint = hint(&error);
            hint.into_iter().fold(Failure::from(error), Failure::hint)
        })?
    };
    if list {
        print(&entries);
    } else if removed {
        for entry in entries {
            output::print(&format!("{} removed\n", entry.name));
        }
    } else {
        for entry in entries {
            output::print(&format!("{} {}\n", entry.name, entry.digest));
        }
    }
    Ok(())
}

fn print(entries: &[Entry]) {
    let header: Vec<String> = ["NAME", "DIGEST", "SIZE"].map(str::to_owned).into();
    let rows: Vec<Vec<String>> = entries
        .iter()
        .map(|entry| {
            let digest = entry
                .digest
                .trim_start_matches("sha256:")
                .chars()
                .take(12)
                .collect();
            let size = format!("{:.1} MiB", entry.size as f64 / f64::from(1 << 20));
            vec![entry.name.clone(), digest, size]
        })
        .collect();
    output::print(&output::table(&header, &rows, true));
}
