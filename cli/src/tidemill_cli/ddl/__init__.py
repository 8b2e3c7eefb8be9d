"""`tidemill ddl`: the tables and rights that pipelines need, as SQL for whoever runs the database."""
