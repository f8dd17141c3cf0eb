//! An archive of a version.

use super::Work;
use crate::invocation::Failure;
use crate::python;

impl Work<'_, '_> {
    /// Makes an archive of the version. True if it was not there, or is another now.
    pub(super) fn archive(&mut self, archive: &str, prefix: Option<&str>) -> Result<bool, Failure> {
        let name = python::basename(archive);
        let format = match name.rfind('.').filter(|at| *at > 0).map(|at| &name[at..]) {
            Some(".zip") => "zip",
            Some(".gz") => "tar.gz",
            Some(".tar") => "tar",
            Some(".tgz") => "tgz",
            _ => {
                return Err(Failure::new(format!(
                    "Unable to get file extension from archive file name : {archive}"
                ))
                .with(
                    "details",
                    "Please specify archive as filename with extension. File extension can be one of ['tar', 'tar.gz', 'zip', 'tgz']",
                ));
            }
        };
        let place = self.path(archive);
        if !place.exists() {
            self.pack(archive, format, prefix)?;
            return Ok(true);
        }
        let new = self
            .context
            .temporary_directory()?
            .join(format!("archive.{format}"));
        let shown = new.to_string_lossy().into_owned();
        self.pack(&shown, format, prefix)?;
        let same = std::fs::read(&new).ok() == std::fs::read(&place).ok();
        if !same {
            std::fs::rename(&new, &place)
                .or_else(|_| std::fs::copy(&new, &place).map(|_| ()))
                .map_err(|error| {
                    Failure::new(format!("Failed to move {shown} to {archive}")).with(
                        "details",
                        format!(
                            "Error occurred while moving : {}",
                            python::os_error_at_text(&error, archive)
                        ),
                    )
                })?;
        }
        Ok(!same)
    }

    fn pack(&self, archive: &str, format: &str, prefix: Option<&str>) -> Result<(), Failure> {
        let mut words = vec!["archive", "--format", format, "--output", archive];
        if let Some(prefix) = prefix {
            words.extend(["--prefix", prefix]);
        }
        words.push(&self.version);
        let done = self.run(&words)?;
        if done.success() {
            return Ok(());
        }
        Err(
            Failure::new("Failed to perform archive operation").with(
                "details",
                format!(
                    "Git archive command failed to create archive {archive} using {} directory.Error: {}",
                    self.dest,
                    done.err()
                ),
            ),
        )
    }
}
