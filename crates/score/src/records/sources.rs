//! The sources a blueprint was made from, kept beside it until it is carried out.

use super::seal::What;
use super::{Error, Kind, Records, doing, owner};

impl Records {
    /// Keeps the sources (a compressed archive) of a blueprint that is kept. Keeping them again changes nothing.
    pub async fn put_sources(
        &self,
        blueprint: &str,
        score: &str,
        archive: Vec<u8>,
    ) -> Result<(), Error> {
        let about = || format!("keeping the sources of the blueprint {blueprint}");
        let object = doing(about, self.objects(Kind::Blueprint).get(blueprint).await)?;
        let owner = owner(Kind::Blueprint, &object);
        self.seal(What::Sources, blueprint, score, &owner, archive)
            .await?;
        Ok(())
    }

    /// The sources of a blueprint.
    pub async fn sources(&self, blueprint: &str) -> Result<Option<Vec<u8>>, Error> {
        self.unseal(What::Sources, blueprint).await
    }
}
