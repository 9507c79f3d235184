"""What is made of records: tables, figures and words."""
