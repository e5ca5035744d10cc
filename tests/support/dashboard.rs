//! The queries of the dashboard in `deploy/monitoring`.

use serde_json::Value;

/// A query of a panel.
#[derive(Clone, Debug)]
pub struct Query {
    /// The title of the panel.
    pub panel: String,
    /// The unit of its values, as Grafana names it.
    pub unit: String,
    /// The query, with `$__rate_interval` replaced.
    pub text: String,
    /// Template of the name of each series.
    pub legend: String,
}

/// Returns the queries of all panels. `rate_interval` is the period of rates, which Grafana would choose itself.
pub fn queries(rate_interval: &str) -> Vec<Query> {
    let dashboard = include_str!("../../deploy/monitoring/grafana/dashboards/btcfeed.json");
    let dashboard: Value = serde_json::from_str(&dashboard.replace("$__rate_interval", rate_interval)).unwrap();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let targets = |panel: &Value| {
        let (title, unit) = (text(&panel["title"]), text(&panel["fieldConfig"]["defaults"]["unit"]));
        let targets = panel["targets"].as_array().unwrap().clone();
        let overrides = panel["fieldConfig"]["overrides"].as_array().cloned().unwrap_or_default();
        targets.into_iter().map(move |target| {
            let legend = text(&target["legendFormat"]);
            let other = overrides.iter().find(|other| matches(&text(&other["matcher"]["options"]), &legend));
            let other = other.map(|other| text(&other["properties"][0]["value"]));
            let unit = other.unwrap_or_else(|| unit.clone());
            Query { panel: title.clone(), unit, text: text(&target["expr"]), legend }
        })
    };
    dashboard["panels"].as_array().unwrap().iter().flat_map(targets).collect()
}

/// Returns true if a name matches a regular expression such as `/ \/ s$/`. Only `$` has a special meaning.
fn matches(expression: &str, name: &str) -> bool {
    let text = expression.trim_matches('/').replace("\\/", "/");
    text.strip_suffix('$').map_or(name.contains(&text), |end| name.ends_with(end))
}

/// Returns the query of a panel that has exactly one.
pub fn query_of(panel: &str, rate_interval: &str) -> String {
    let found: Vec<_> = queries(rate_interval).into_iter().filter(|query| query.panel == panel).collect();
    assert_eq!(found.len(), 1, "{panel}");
    found[0].text.clone()
}
