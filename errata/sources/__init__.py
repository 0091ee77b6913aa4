"""From a document's text to its snippets, each with its exact place in the document."""
