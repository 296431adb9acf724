"""The application that segments in a browser, as static files; its sources are in `web/` of the repository."""
