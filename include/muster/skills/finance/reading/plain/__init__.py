"""Reading a plain PDF: what people see, turned into fields that are right or marked as not found."""
