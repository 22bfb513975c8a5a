//! Tables as text.

/// Returns a table with aligned columns: the first `texts` to the left, the others to the right. A row of empty cells
/// is an empty line.
pub(crate) fn draw<const N: usize>(header: [&str; N], texts: usize, rows: &[[String; N]]) -> String {
    let header = header.map(str::to_owned);
    let lines = || std::iter::once(&header).chain(rows);
    let widths: [usize; N] =
        std::array::from_fn(|column| lines().map(|line| line[column].chars().count()).max().unwrap_or(0));
    let draw = |line: &[String; N]| {
        let mut text = String::new();
        for (column, (cell, width)) in line.iter().zip(widths).enumerate() {
            let space = if column == 0 { "" } else { "  " };
            text += &if column < texts { format!("{space}{cell:<width$}") } else { format!("{space}{cell:>width$}") };
        }
        text.truncate(text.trim_end().len());
        text
    };
    lines().map(draw).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_of_text_are_left_aligned_and_figures_right() {
        let rows = [["ibsim", "9", ""], ["Portico", "1234", "2.0x slower"]].map(|row| row.map(str::to_owned));
        let expected = "\
fabric   SMPs  beside ibsim
ibsim       9
Portico  1234   2.0x slower";
        assert_eq!(draw(["fabric", "SMPs", "beside ibsim"], 1, &rows), expected);
        let expected = "\
fabric   SMPs  beside ibsim
ibsim    9
Portico  1234  2.0x slower";
        assert_eq!(draw(["fabric", "SMPs", "beside ibsim"], 3, &rows), expected);
    }
}
