curl -N 'http://localhost:8080/v1/prices/stream?currency=USD,EUR&format=full'
# After a disconnect: add -H 'Last-Event-ID: ID' with the last id that you have.
