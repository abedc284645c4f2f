"""Where records live: SQLite or PostgreSQL. The only package that speaks SQL."""
