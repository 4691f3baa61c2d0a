"""The API's OData endpoint: reading a URL, asking the database, answering."""
