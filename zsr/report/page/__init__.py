"""The page of the report: one offline HTML file."""
