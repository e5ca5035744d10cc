//! The candles of hours that have ended. One hash has the minute candles of each hour, and another has one candle for
//! each hour. In both, the name of a field is the start of the hour.

use super::Redis;
use super::connection::RedisRequest;
use crate::candle::Detail;
use crate::store::contract::Result;
use crate::tick::TickId;
use ::redis::cmd;

impl Redis {
    fn hours_key(&self, detail: Detail) -> &str {
        match detail {
            Detail::Minutes => &self.keys.candles,
            Detail::Hour => &self.keys.hours,
        }
    }

    /// Returns the starts of the hours, oldest first.
    pub(super) async fn hours(&self, detail: Detail) -> Result<Vec<TickId>> {
        let fields: Vec<Vec<u8>> = self.history.query(cmd("HKEYS").arg(self.hours_key(detail))).await?;
        // A field whose name is not a number was not written by btcfeed.
        let start = |field: &Vec<u8>| Some(TickId::from_ms(std::str::from_utf8(field).ok()?.parse().ok()?));
        let mut starts: Vec<_> = fields.iter().filter_map(start).collect();
        starts.sort_unstable();
        Ok(starts)
    }

    /// Returns the text of each of these hours.
    pub(super) async fn texts_of_hours(&self, detail: Detail, starts: &[TickId]) -> Result<Vec<Option<String>>> {
        if starts.is_empty() {
            return Ok(Vec::new());
        }
        let fields: Vec<_> = starts.iter().map(|start| start.ms()).collect();
        let key = self.hours_key(detail);
        let texts: Vec<Option<Vec<u8>>> = self.history.query(cmd("HMGET").arg(key).arg(fields)).await?;
        Ok(texts.into_iter().map(|text| text.map(|text| String::from_utf8_lossy(&text).into_owned())).collect())
    }

    /// Writes the hours that the hash does not have, and deletes those that have `expired`.
    pub(super) async fn write_hours(
        &self,
        detail: Detail,
        hours: &[(TickId, String)],
        expired: &[TickId],
    ) -> Result<()> {
        let key = self.hours_key(detail);
        let mut commands = ::redis::pipe();
        for start in expired {
            commands.cmd("HDEL").arg(key).arg(start.ms()).ignore();
        }
        for (start, text) in hours {
            commands.cmd("HSETNX").arg(key).arg(start.ms()).arg(text).ignore();
        }
        self.clients.send(RedisRequest::Pipeline(&commands)).await
    }
}
