//! What everything costs as a store grows, as a plot and on paper.

use std::fmt::Write as _;
use std::path::Path;

use plotters::prelude::*;

use crate::Failure;
use crate::contest::{Entry, Outcome};
use crate::measure::growth::SIZES;
use crate::table;

/// Size that all costs are drawn as multiples of.
const UNIT: &str = "1 M";

/// A cost by the sizes of the store: what one operation takes, in the unit of its metric.
struct Cost {
    metric: &'static str,
    points: Vec<(u64, f64)>,
}

impl Cost {
    /// Each in the first.
    fn times(&self) -> impl Iterator<Item = f64> {
        self.points.iter().map(|&(_, value)| value / self.points[0].1)
    }
}

/// The costs that grow or don't: rates are turned into time.
fn costs(outcome: &Outcome) -> Vec<Cost> {
    let sized = |name: &str| outcome.entries.iter().find(|entry| entry.name == name);
    let metrics = sized(UNIT).map(Entry::metrics).unwrap_or_default();
    let cost = |metric: &'static str| {
        let points = SIZES.iter().filter(|&&(_, records)| records > 0);
        let points = points.filter_map(|&(name, records)| {
            let median = sized(name)?.spread(metric)?.median;
            Some((records, if metric.ends_with("records/s") { 1e9 / median } else { median }))
        });
        Cost { metric, points: points.collect() }
    };
    metrics.into_iter().map(cost).collect()
}

/// Draws each cost, in that at [`UNIT`], against the number of records; both scales are
/// logarithmic.
pub(crate) fn write(path: &Path, outcome: &Outcome) -> Result<(), Failure> {
    let costs = costs(outcome);
    let area = SVGBackend::new(path, (860, 480)).into_drawing_area();
    area.fill(&WHITE)?;
    let all = || costs.iter().filter(|cost| !cost.points.is_empty()).flat_map(Cost::times);
    let (least, most) = (all().fold(0.5, f64::min), all().fold(4.0, f64::max));
    let [from, to] = [SIZES[1].1 as f64, SIZES[3].1 as f64];
    let mut chart = ChartBuilder::on(&area)
        .caption("Cost as a store grows, in that at 1 M records", ("sans-serif", 20))
        .margin(28)
        .x_label_area_size(44)
        .y_label_area_size(64)
        .build_cartesian_2d((from..to).log_scale(), (least..most * 1.1).log_scale())?;
    chart
        .configure_mesh()
        .x_desc("records of 32 B")
        .y_desc("times the cost at 1 M")
        .x_label_formatter(&|records| format!("{:.0} M", records / 1e6))
        .y_label_formatter(&|times| table::figure(*times))
        .draw()?;
    for (number, cost) in costs.iter().enumerate().filter(|(_, cost)| !cost.points.is_empty()) {
        let style = Palette99::pick(number).stroke_width(2);
        let points = cost.points.iter().map(|&(records, _)| records as f64).zip(cost.times());
        let name = cost.metric.split(',').next().unwrap_or(cost.metric);
        chart
            .draw_series(LineSeries::new(points, style).point_size(3))?
            .label(name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], style));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE)
        .border_style(BLACK)
        .draw()?;
    area.present()?;
    Ok(())
}

/// A table of the costs at ten times the largest size: each grows as it did over the last tenfold.
pub(crate) fn on_paper(outcome: &Outcome) -> String {
    let mut table = String::new();
    let mut row = |cost: &Cost| {
        let [.., (_, before), (_, last)] = *cost.points else { return };
        let slope = last / before;
        let rate = cost.metric.ends_with("records/s");
        let shown = |cost: f64| table::figure(if rate { 1e9 / cost } else { cost });
        let _infallible = writeln!(
            table,
            "| {} | {} | {} | {slope:.2} | {} |",
            cost.metric,
            shown(before),
            shown(last),
            shown(last * slope)
        );
    };
    costs(outcome).iter().for_each(&mut row);
    if table.is_empty() {
        return table;
    }
    format!(
        "\n| | second largest | largest | cost grew by | on paper, ten times the largest |\n\
         |---|---|---|---|---|\n{table}"
    )
}
