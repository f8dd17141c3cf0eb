//! Tokens of structure: documents, collections, entries, keys and values.

use super::{DEPTH, Kind, Result, Scanner, SimpleKey, Token};

impl Scanner {
    pub(super) fn fetch_end(&mut self) -> Result<()> {
        if self.mark.column != 0 {
            self.mark.column = 0;
            self.mark.line += 1;
        }
        self.unroll(-1);
        self.remove_key()?;
        self.simple_key_allowed = false;
        self.push(Kind::StreamEnd, self.mark);
        self.ended = true;
        Ok(())
    }

    pub(super) fn fetch_document_indicator(&mut self, kind: Kind) -> Result<()> {
        self.unroll(-1);
        self.remove_key()?;
        self.simple_key_allowed = false;
        self.indicator(3, kind);
        Ok(())
    }

    pub(super) fn fetch_flow_start(&mut self, kind: Kind) -> Result<()> {
        self.save_key()?;
        if self.flow >= DEPTH {
            return self.error(None, "values are nested too deeply");
        }
        self.keys.push(SimpleKey::default());
        self.flow += 1;
        self.simple_key_allowed = true;
        self.indicator(1, kind);
        Ok(())
    }

    pub(super) fn fetch_flow_end(&mut self, kind: Kind) -> Result<()> {
        self.remove_key()?;
        if self.flow > 0 {
            self.flow -= 1;
            self.keys.pop();
        }
        self.simple_key_allowed = false;
        self.indicator(1, kind);
        Ok(())
    }

    pub(super) fn fetch_block_entry(&mut self) -> Result<()> {
        if self.flow == 0 {
            if !self.simple_key_allowed {
                return self.error(
                    None,
                    "block sequence entries are not allowed in this context",
                );
            }
            self.roll(self.mark.column, None, Kind::BlockSequenceStart, self.mark);
        }
        self.remove_key()?;
        self.simple_key_allowed = true;
        self.indicator(1, Kind::BlockEntry);
        Ok(())
    }

    pub(super) fn fetch_key(&mut self) -> Result<()> {
        if self.flow == 0 {
            if !self.simple_key_allowed {
                return self.error(None, "mapping keys are not allowed in this context");
            }
            self.roll(self.mark.column, None, Kind::BlockMappingStart, self.mark);
        }
        self.remove_key()?;
        self.simple_key_allowed = self.flow == 0;
        self.indicator(1, Kind::Key);
        Ok(())
    }

    pub(super) fn fetch_value(&mut self) -> Result<()> {
        let key = self.keys.last().copied().unwrap_or_default();
        if key.possible {
            self.tokens.insert(
                key.token - self.parsed,
                Token {
                    kind: Kind::Key,
                    start: key.mark,
                    end: key.mark,
                },
            );
            self.roll(
                key.mark.column,
                Some(key.token),
                Kind::BlockMappingStart,
                key.mark,
            );
            if let Some(key) = self.keys.last_mut() {
                key.possible = false;
            }
            self.simple_key_allowed = false;
        } else {
            if self.flow == 0 {
                if !self.simple_key_allowed {
                    return self.error(None, "mapping values are not allowed in this context");
                }
                self.roll(self.mark.column, None, Kind::BlockMappingStart, self.mark);
            }
            self.simple_key_allowed = self.flow == 0;
        }
        self.indicator(1, Kind::Value);
        Ok(())
    }
}
